import assert from 'node:assert/strict'
import { hash } from 'node:crypto'
import type { Condition, Slot } from '../coordination/coordinator.ts'
import { Fault, type FaultName } from '../lib/fault.ts'
import { overAtOnce, type Soon, whenThere } from '../lib/soon.ts'
import type { Cut } from '../protocols/splice.ts'
import { Attempt, type Beginning } from '../upstreams/attempt.ts'
import type { Server } from '../upstreams/choosable.ts'
import type { Outbound } from '../upstreams/egress.ts'
import { endpointOf } from '../upstreams/endpoint.ts'
import { afterAnswer, afterFault, afterFirstEvent, afterNothing } from '../upstreams/rest.ts'
import { type AttemptFault, attemptFaults } from '../upstreams/verdict.ts'
import type { AttemptRow } from '../usage/record.ts'
import type { Admission } from './admit.ts'
import { beside } from './beside.ts'
import { Chooser, type Chosen } from './choose.ts'
import type { Client } from './client.ts'
import { beginningOrElsewhere, type Elsewhere } from './first-event.ts'
import type { Gateway } from './gateway.ts'
import type { Receipt } from './receipt.ts'
import { repairFor } from './repair.ts'
import { requestHeaders } from './request-headers.ts'

/** An answer on its way, and the account's slot that it occupies until its upstream has ended. Disposing ends both, unless handed over. */
export interface Reply extends AsyncDisposable {
  readonly attempt: Attempt
  readonly beginning: Exclude<Beginning, { kind: 'fault' }>
  readonly server: Server
  readonly slot: Slot
  readonly row: Writable<AttemptRow>
  /** Attempt and slot are the drain's from now on. */
  handOver(): void
}

export type Writable<Type> = { -readonly [Name in keyof Type]: Type[Name] }

/**
 * Offers the call to one account after another until one begins to answer. The client has heard nothing yet but waiting
 * comments, so anybody may be tried. Fails with what the last failure means for the client.
 */
export async function forward(admission: Admission, client: Client, gateway: Gateway): Promise<Reply> {
  const { settings } = gateway
  const chooser = new Chooser(admission, client, gateway)
  // Whole answers say nothing before their end: how slowly they begin cannot be seen.
  const limitMs = admission.call.facts.stream ? admission.offer.group.firstEventLimitMs : null
  let last: { fault: AttemptFault; server: Server } | undefined
  let isRepeated = false
  let next: Chosen | undefined
  let cuts: readonly Cut[] = []

  for (let tries = 0; tries <= settings.switchesMax; tries += 1) {
    // Gone while its hold was placed, or while something else was asked that no leaving ends: nobody waits for an answer.
    if (client.hasLeft) {
      await next?.slot[Symbol.asyncDispose]()
      throw client.left.reason
    }
    const choosing = next ?? chooser.next()
    let chosen = choosing instanceof Promise ? await choosing : choosing
    if ('why' in chosen) {
      if (last === undefined) throw unavailable(chosen.why, chosen.restEndsInMs)
      const waitMs = isRepeated ? undefined : repeatAfterMs(last.fault, gateway)
      if (waitMs === undefined) break
      isRepeated = true
      await pause(waitMs, client, gateway)
      const slot = await chooser.again(last.server)
      if (slot === undefined) break
      chosen = { server: last.server, slot }
    }
    const elsewhere = limitMs !== null && tries < settings.switchesMax ? { chooser, limitMs } : undefined
    const tried = await tryOne(chosen, elsewhere, { admission, client, gateway, cuts })
    if ('attempt' in tried) {
      if (tried.beginning.kind !== 'refusal' && chooser.sessionKey !== undefined)
        await bindSession(chooser.sessionKey, chosen.server, gateway)
      const repair = tries < settings.switchesMax ? repairFor(tried, admission) : undefined
      if (repair === undefined) return tried
      cuts = repair.cuts
      admission.receipt.repaired = repair.what
      next = { server: tried.server, slot: tried.slot } // The same account, by the slot that it has: this is not its fault.
      continue
    }
    last = { fault: tried.fault, server: chosen.server }
    next = tried.next
    if (!attemptFaults[tried.fault.name].elsewhere) break
  }
  if (gateway.closing.aborted && last?.fault.name === 'aborted') throw gateway.closing.reason
  assert(last !== undefined, 'at least one attempt was made')
  const { restEndsInMs } = await chooser.nobody()
  throw exhausted(last.fault, restEndsInMs)
}

export type Trying = { readonly admission: Admission; readonly client: Client; readonly gateway: Gateway; readonly cuts: readonly Cut[] }

/** An attempt that nobody answered, and the account to ask instead when one has been taken already. */
export interface Failed {
  readonly fault: AttemptFault
  readonly next: Chosen | undefined
}

/** One attempt. The slot is given back here unless an answer took it along, or the drain did. */
export async function tryOne({ server, slot }: Chosen, elsewhere: Elsewhere | undefined, trying: Trying): Promise<Reply | Failed> {
  const { admission, client, gateway, cuts } = trying
  const { facts, protocol } = admission.call
  let attempt: Attempt | undefined
  let isKept = false
  try {
    client.commentEvery(facts.stream ? gateway.settings.attemptCommentMs : 0)
    const row = newRow(server, admission.receipt, gateway)
    const startedMs = gateway.clock.elapsedMs()
    attempt = new Attempt(outboundOf(server, admission, client, cuts), { protocol, streams: facts.stream }, gateway)
    const tried = { attempt, server, row, startedMs }
    admission.receipt.attempts.push(row)
    const begun = elsewhere && (await beginningOrElsewhere(attempt, elsewhere, trying))
    const beginning = begun === undefined ? await attempt.beginningUnlessLeft(client.leaving) : begun.beginning
    if (beginning === undefined) {
      isKept = attempt.isSent
      if (isKept) gateway.drain.takeUnanswered({ ...tried, slot }, admission)
      else await endUnsent(tried, gateway)
      throw client.left.reason
    }
    const judging = judge(beginning, tried, gateway)
    const fault = judging instanceof Promise ? await judging : judging
    if (fault !== undefined) return { fault, next: begun?.next }
    isKept = true
    return new Answering({ attempt, beginning: beginning as Reply['beginning'], server, slot, row }, gateway)
  } finally {
    if (!isKept) await giveUp(attempt, slot, gateway)
  }
}

/** The client left before anything of the attempt can have reached the upstream. */
async function endUnsent({ attempt, server, row, startedMs }: Tried, gateway: Gateway): Promise<void> {
  attempt.abort()
  closeRow(row, attempt, { name: 'aborted', status: null }, gateway.clock.elapsedMs() - startedMs)
  await changeCondition(server, condition => afterNothing(condition, row.beganAtMs), gateway)
}

/** Ends what is still under way, and gives the account's slot back. */
function giveUp(attempt: Attempt | undefined, slot: Slot, gateway: Pick<Gateway, 'live'>): Promise<void> {
  if (attempt !== undefined) abandon(attempt, gateway)
  return slot[Symbol.asyncDispose]()
}

/** The reply of an attempt that has begun, whose slot and end are from now on the reply's. */
export class Answering implements Reply {
  readonly attempt: Attempt
  readonly beginning: Reply['beginning']
  readonly server: Server
  readonly slot: Slot
  readonly row: Writable<AttemptRow>
  readonly #gateway: Pick<Gateway, 'live'>
  #isOurs = true

  constructor({ attempt, beginning, server, slot, row }: Omit<Reply, 'handOver' | keyof AsyncDisposable>, gateway: Pick<Gateway, 'live'>) {
    this.attempt = attempt
    this.beginning = beginning
    this.server = server
    this.slot = slot
    this.row = row
    this.#gateway = gateway
  }

  handOver(): void {
    this.#isOurs = false
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.#isOurs ? giveUp(this.attempt, this.slot, this.#gateway) : overAtOnce
  }
}

/** Nobody will read what is still to come, if anything is: it must not occupy a connection. */
export function abandon(attempt: Attempt, { live }: Pick<Gateway, 'live'>): void {
  if (live.has(attempt)) attempt.abort()
}

/** What an attempt says of its account is worth knowing, but no answer hangs on it. */
export function changeCondition(
  { account }: Server,
  change: (condition: Condition) => Condition,
  { coordinator, log }: Pick<Gateway, 'coordinator' | 'log'>,
): Soon<Condition | undefined> {
  return beside('changing the condition of an account', log, () => coordinator.change(account.id, change))
}

export interface Tried {
  readonly attempt: Attempt
  readonly server: Server
  readonly row: Writable<AttemptRow>
  readonly startedMs: number
}

/** Says on the attempt's row and in the account's condition how it began. Returns the fault if it did not. */
export function judge(
  beginning: Beginning,
  { attempt, server, row, startedMs }: Tried,
  gateway: Pick<Gateway, 'coordinator' | 'clock' | 'log' | 'settings' | 'metrics'>,
): Soon<AttemptFault | undefined> {
  const { clock, settings, metrics } = gateway
  if (beginning.kind === 'fault') {
    const { fault } = beginning
    closeRow(row, attempt, fault, clock.elapsedMs() - startedMs)
    metrics.attempts.inc({ account: server.account.name, ended: fault.name })
    const nowMs = clock.nowMs()
    const changing = changeCondition(
      server,
      condition => afterFault(condition, fault, server.model, { ...settings, nowMs, sentAtMs: row.beganAtMs, waitedMs: row.durationMs }),
      gateway,
    )
    return whenThere(changing, () => fault)
  }
  row.status = beginning.status
  row.upstreamRequestId = attempt.upstreamRequestId ?? null
  row.firstEventMs = Math.round(attempt.firstEventMs ?? 0)
  row.durationMs = Math.round(clock.elapsedMs() - startedMs)
  row.answered = beginning.kind !== 'refusal'
  metrics.attempts.inc({ account: server.account.name, ended: beginning.kind === 'refusal' ? 'refused' : 'answered' })
  const changing = changeCondition(server, condition => begun(condition, beginning, { attempt, row }), gateway)
  return whenThere(changing, () => undefined)
}

/** A whole answer is a success; of a stream only its end will tell. */
function begun(condition: Condition, beginning: Beginning, { attempt, row }: Pick<Tried, 'attempt' | 'row'>): Condition {
  if (beginning.kind === 'refusal') return afterNothing(condition, row.beganAtMs)
  if (beginning.kind === 'json') return afterAnswer(condition, row.beganAtMs)
  // To refuse a call takes no time, and says nothing of how long an answer would.
  if (beginning.kind === 'stream' && beginning.isRefusal) return condition
  return afterFirstEvent(condition, attempt.firstEventMs ?? 0)
}

export function closeRow(row: Writable<AttemptRow>, attempt: Attempt, fault: AttemptFault, durationMs: number): void {
  row.fault = fault.name
  row.status = fault.status
  row.durationMs = Math.round(durationMs)
  row.upstreamRequestId = attempt.upstreamRequestId ?? null
}

export function newRow(server: Server, receipt: Receipt, { clock }: Pick<Gateway, 'clock'>): Writable<AttemptRow> {
  return {
    callId: receipt.id,
    number: receipt.attempts.length + 1,
    accountId: server.account.id,
    model: server.model,
    beganAtMs: clock.nowMs(),
    status: null,
    fault: null,
    firstEventMs: null,
    durationMs: 0,
    upstreamRequestId: null,
    answered: false,
  }
}

function outboundOf({ account, model }: Server, admission: Admission, client: Client, cuts: readonly Cut[]): Outbound {
  const { call, principal, outputCeiling } = admission
  const { facts, instructions, protocol } = call
  const wanted = {
    model: model === facts.model ? undefined : model,
    instructions,
    outputCeiling,
    safetyIdentifier: account.capabilities.safetyIdentifier && !facts.hasSafetyIdentifier ? hashOf(principal.user.id) : undefined,
    cuts,
  }
  const { origin, path } = endpointOf(account.baseUrl)
  return {
    origin,
    path: `${path}${protocol.path}${call.query}`,
    method: 'POST',
    headers: requestHeaders(client.request.headers, account),
    body: protocol.rewrite(call.body.bytes, facts, wanted),
    route: account,
  }
}

function hashOf(userId: string): string {
  return hash('sha256', `headgate user ${userId}`, 'hex')
}

async function bindSession(sessionKey: string, { account }: Server, { coordinator, log, settings }: Gateway): Promise<void> {
  await beside('binding a session', log, () => coordinator.bindSession(sessionKey, account.id, settings.sessionTtlMs))
}

/** How long to wait before the same account is asked once more; undefined when that would not help. */
function repeatAfterMs(fault: AttemptFault, { settings, chance }: Gateway): number | undefined {
  if (fault.askedMs !== undefined) return fault.askedMs <= settings.sameAccountWaitMaxMs ? fault.askedMs : undefined
  const isPassing = attemptFaults[fault.name].passing && (fault.status === null || [200, 500, 502, 504].includes(fault.status))
  return isPassing ? passingMs + chance() * passingMs : undefined
}

const passingMs = 100

async function pause(ms: number, client: Client, { clock, closing }: Gateway): Promise<void> {
  await new Promise<void>((resolve, reject) => {
    const timer = clock.after(ms, () => over(resolve))
    const left = () => over(() => reject(client.left.reason))
    const stopped = () => over(() => reject(closing.reason))
    const over = (then: () => void) => {
      timer[Symbol.dispose]()
      client.left.removeEventListener('abort', left)
      closing.removeEventListener('abort', stopped)
      then()
    }
    client.left.addEventListener('abort', left)
    closing.addEventListener('abort', stopped)
    if (client.left.aborted) left()
    else if (closing.aborted) stopped()
  })
}

export function unavailable(why: string, restEndsInMs: number | undefined): Fault {
  return new Fault('accounts_unavailable', { values: { why }, retryAfterSeconds: soonSeconds(restEndsInMs) })
}

/** What the last upstream status means for the client, once nobody else can be asked. */
const byStatus: Readonly<Record<number, FaultName>> = {
  401: 'upstream_auth',
  403: 'upstream_forbidden',
  429: 'upstream_limited',
  529: 'upstream_overloaded',
  500: 'upstream_unavailable',
  502: 'upstream_unavailable',
  503: 'upstream_unavailable',
  504: 'upstream_unavailable',
}

const withRetryAfter = new Set<FaultName>(['upstream_limited', 'upstream_overloaded', 'upstream_unavailable'])

/** What the last failure means for the client. */
export function exhausted(fault: AttemptFault, restEndsInMs: number | undefined): Fault {
  const name = byStatus[fault.status ?? 0] ?? 'upstream_failed'
  const cause = new Error(`the last attempt failed: ${fault.name} ${fault.status ?? ''}`)
  return new Fault(name, { cause, retryAfterSeconds: withRetryAfter.has(name) ? soonSeconds(restEndsInMs) : undefined })
}

const soonMs = 60_000

function soonSeconds(inMs: number | undefined): number | undefined {
  return inMs !== undefined && inMs <= soonMs ? Math.max(1, Math.ceil(inMs / 1000)) : undefined
}
