import type { Account } from '../directory/entities.ts'
import { Fault } from '../lib/fault.ts'
import { kept } from '../protocols/openai-kept.ts'
import { restsUntilMs } from '../upstreams/account.ts'
import { Attempt, type Beginning } from '../upstreams/attempt.ts'
import type { Outbound } from '../upstreams/egress.ts'
import { endpointOf } from '../upstreams/endpoint.ts'
import { afterFault, afterKept } from '../upstreams/rest.ts'
import type { AttemptFault } from '../upstreams/verdict.ts'
import type { Body } from './body.ts'
import type { Client } from './client.ts'
import { changeCondition, closeRow, exhausted, newRow } from './forward.ts'
import type { Gateway } from './gateway.ts'
import type { Receipt } from './receipt.ts'
import { requestHeaders } from './request-headers.ts'

/** Something to be asked of an account about what it keeps. */
export interface KeptQuestion {
  readonly account: Account
  readonly method: Outbound['method']
  /** Below its base URL, with the query string. */
  readonly path: string
  readonly body: Buffer | undefined
  /** Whether events may come. */
  readonly streams: boolean
}

/** An account's answer about what it keeps. */
export interface KeptAnswer {
  readonly attempt: Attempt
  readonly beginning: Exclude<Beginning, { kind: 'fault' }>
}

export interface KeptAsking {
  readonly client: Client
  readonly receipt: Receipt
  readonly gateway: Gateway
}

/**
 * Asks once. It takes no slot and no money, and an account that rests is asked too: nobody else has it. A failure counts against the
 * account as that of a call does.
 */
export async function askKept(question: KeptQuestion, asking: KeptAsking): Promise<KeptAnswer | { readonly fault: AttemptFault }> {
  const { client, receipt, gateway } = asking
  const { clock, metrics } = gateway
  const server = { account: question.account, model: '' }
  const row = newRow(server, receipt, gateway)
  const startedMs = clock.elapsedMs()
  const attempt = newKeptAttempt(question, client.request.headers, gateway)
  receipt.attempts.push(row)
  const beginning = await attempt.beginningUnlessLeft(client.leaving)
  const durationMs = clock.elapsedMs() - startedMs
  if (beginning === undefined) {
    attempt.abort()
    closeRow(row, attempt, { name: 'aborted', status: null }, durationMs)
    throw client.left.reason
  }
  const ended = beginning.kind === 'fault' ? beginning.fault.name : beginning.kind === 'refusal' ? 'refused' : 'answered'
  metrics.attempts.inc({ account: server.account.name, ended })
  if (beginning.kind === 'fault') {
    const { fault } = beginning
    closeRow(row, attempt, fault, durationMs)
    const when = { ...gateway.settings, nowMs: clock.nowMs(), sentAtMs: row.beganAtMs }
    await changeCondition(server, condition => afterFault(condition, fault, server.model, when), gateway)
    return { fault }
  }
  row.status = beginning.status
  row.upstreamRequestId = attempt.upstreamRequestId ?? null
  row.firstEventMs = Math.round(attempt.firstEventMs ?? 0)
  row.durationMs = Math.round(durationMs)
  if (beginning.kind === 'json') await changeCondition(server, afterKept, gateway)
  return { attempt, beginning }
}

/** What the failure means for the client. */
export async function keptFault(fault: AttemptFault, account: Account, gateway: Gateway): Promise<Fault> {
  if (gateway.closing.aborted && fault.name === 'aborted') return Fault.from(gateway.closing.reason)
  const [condition] = await gateway.coordinator.conditions([account.id])
  const nowMs = gateway.clock.nowMs()
  const untilMs = condition && restsUntilMs({ account, model: '', condition }, nowMs)
  return exhausted(fault, untilMs === undefined ? undefined : untilMs - nowMs)
}

type AttemptNeeds = Pick<Gateway, 'egress' | 'clock' | 'settings' | 'live'>

/** One request about what an account keeps. Whoever pipes its events must see them to their end or abort it. */
export function newKeptAttempt(
  { account, method, path, body, streams }: KeptQuestion,
  headers: Parameters<typeof requestHeaders>[0],
  { egress, clock, settings, live }: AttemptNeeds,
): Attempt {
  const { origin, path: base } = endpointOf(account.baseUrl)
  const { 'content-type': _, ...sent } = requestHeaders(headers, account)
  const outbound: Outbound = {
    origin,
    path: `${base}${path}`,
    method,
    headers: body === undefined ? sent : requestHeaders(headers, account),
    body: body === undefined ? [] : [body],
    route: account,
  }
  const within = { ...settings, jsonHeadersTimeoutMs: settings.keptTimeoutMs }
  return new Attempt(outbound, { protocol: kept, streams }, { egress, clock, live, settings: within })
}

/** The body of a request that may have one; undefined when it has none. */
export async function bodyIfAny(client: Client, gateway: Gateway): Promise<Body | undefined> {
  if (client.request.method !== 'POST') return undefined
  return client.readBytes({ settings: gateway.settings, budget: gateway.bodies, clock: gateway.clock, closing: gateway.closing })
}
