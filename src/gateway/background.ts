import type { NewOwner } from '../directory/owners.ts'
import { noUsage, type Usage } from '../ledger/price.ts'
import type { Clock, Timer } from '../lib/clock.ts'
import { Fault } from '../lib/fault.ts'
import { newId } from '../lib/id.ts'
import { Roster } from '../lib/roster.ts'
import { kept } from '../protocols/openai-kept.ts'
import type { AnswerFacts } from '../protocols/protocol.ts'
import type { Attempt, Beginning } from '../upstreams/attempt.ts'
import { type PendingCall, takeOverMax } from '../usage/pending.ts'
import type { AttemptRow, Basis, Ended } from '../usage/record.ts'
import { newKeptAttempt } from './ask-kept.ts'
import { beside } from './beside.ts'
import { orBooksAway } from './books-away.ts'
import type { Gateway } from './gateway.ts'
import { priceOf } from './pricing.ts'
import { tell } from './row.ts'
import { madeIn } from './settle.ts'
import { whyBeyondHold } from './uncollected.ts'

export interface BackgroundSettings {
  readonly backgroundPollMs: number
  readonly backgroundPollMaxMs: number
  readonly backgroundPollsMax: number
  readonly backgroundMaxMs: number
}

/**
 * Where calls wait whose response goes on upstream after its create was answered. Their accounts are asked until it is over; that costs
 * nothing, and the call is settled once, by whoever sees the end first. The books have all that is needed for it: another gateway
 * settles what it sees the end of, and goes on asking when this one has died.
 */
export interface Background {
  /** Durable when it resolves: the id's owner, the row, and what it will be settled by. Never fails. */
  begin(pending: PendingCall, attempts: readonly AttemptRow[], owners: readonly NewOwner[]): Promise<void>
  /** Nobody reads its events: from now on its account is asked. */
  watch(callId: string): void
  /** It was settled by who read its events. */
  ended(callId: string): void
  /** A client is about to be told this of a response: if that is its end, its charge is durable when this resolves. */
  heard(facts: AnswerFacts): Promise<void>
  /**
   * A client is about to delete a response: one that still runs is cancelled first, because afterwards nobody could say what it used.
   * Throws `response_running` when that fails, and `books_away` when nobody can say whether it still runs.
   */
  beforeDelete(responseId: string): Promise<void>
  /** Takes up what gateways that are gone have left. Rejects when the books are away. */
  takeOver(): Promise<void>
  readonly count: number
  /** Asks no more, and waits for what is being settled. What is not over is in the books. */
  close(): Promise<void>
}

interface Waiting {
  readonly pending: PendingCall
  polls: number
  /** In a row, for which the account said that it has no such response. */
  unknown: number
  timer: Timer | undefined
  asking: Promise<void> | undefined
  settling: Promise<void> | undefined
  isOver: boolean
}

export function openBackground(settings: BackgroundSettings, clock: Clock, gateway: () => Gateway): Background {
  return new Poller(settings, clock, gateway)
}

/** Right after it was made an account may not know it yet. */
const unknownMax = 3

class Poller implements Background {
  readonly #settings: BackgroundSettings
  readonly #clock: Clock
  readonly #gateway: () => Gateway
  readonly #byCall = new Map<string, Waiting>()
  readonly #byResponse = new Map<string, Waiting>()
  /** Those whose time has come, when enough others are being asked. */
  readonly #due = new Set<Waiting>()
  /** What asks, apart from the attempts of calls. */
  readonly #live = new Roster<Attempt>()
  #asking = 0
  #isClosed = false

  constructor(settings: BackgroundSettings, clock: Clock, gateway: () => Gateway) {
    this.#settings = settings
    this.#clock = clock
    this.#gateway = gateway
  }

  get count(): number {
    return this.#byCall.size
  }

  async begin(pending: PendingCall, attempts: readonly AttemptRow[], owners: readonly NewOwner[]): Promise<void> {
    this.#add(pending)
    const { callId, funds, call, row } = pending
    await this.#gateway().books.end({ callId, funds, call, pending, row, attempts, owners })
  }

  watch(callId: string): void {
    const waiting = this.#byCall.get(callId)
    if (waiting !== undefined) this.#later(waiting)
  }

  ended(callId: string): void {
    const waiting = this.#byCall.get(callId)
    if (waiting !== undefined) this.#forget(waiting)
  }

  async heard(facts: AnswerFacts): Promise<void> {
    const { responseId } = facts
    if (responseId === null || !isOver(facts)) return
    const waiting = await beside('looking up a response in the background', this.#gateway().log, () => this.#find(responseId))
    if (waiting === undefined) return
    // Without its usage the whole answer is wanted, to count it.
    if (facts.usage === null && facts.status !== 'failed') await this.#ask(waiting, 'GET', '')
    else await this.#settle(waiting, facts, undefined)
  }

  async beforeDelete(responseId: string): Promise<void> {
    const waiting = await this.#find(responseId)
    if (waiting === undefined) return
    await this.#ask(waiting, 'POST', '/cancel')
    // What was over already cannot be cancelled, and is told as it is.
    if (!waiting.isOver) await this.#ask(waiting, 'GET', '')
    if (!waiting.isOver) throw new Fault('response_running')
  }

  async takeOver(): Promise<void> {
    const { pending, leaseId } = this.#gateway()
    for (let taken = takeOverMax; taken === takeOverMax; ) {
      const left = await pending.takeOver(leaseId)
      for (const one of left) if (!this.#byCall.has(one.callId)) this.#later(this.#add(one))
      taken = left.length
    }
  }

  async close(): Promise<void> {
    this.#isClosed = true
    this.#due.clear()
    for (const { timer } of this.#byCall.values()) timer?.[Symbol.dispose]()
    for (const attempt of this.#live.all()) attempt.abort()
    await Promise.all([...this.#byCall.values()].flatMap(({ asking, settling }) => [asking, settling]))
  }

  /** Another gateway may be the one that asks for it: then only its end is of interest here. Throws `books_away`. */
  async #find(responseId: string): Promise<Waiting | undefined> {
    const mine = this.#byResponse.get(responseId)
    if (mine !== undefined) return mine
    const gateway = this.#gateway()
    const found = await orBooksAway(() => gateway.pending.find(responseId), gateway)
    return found && newWaiting(found)
  }

  #add(pending: PendingCall): Waiting {
    const waiting = newWaiting(pending)
    this.#byCall.set(pending.callId, waiting)
    this.#byResponse.set(pending.responseId, waiting)
    return waiting
  }

  #forget(waiting: Waiting): void {
    const { callId, responseId } = waiting.pending
    waiting.isOver = true
    const mine = this.#byCall.get(callId)
    if (mine === undefined) return
    mine.timer?.[Symbol.dispose]()
    this.#due.delete(mine)
    this.#byCall.delete(callId)
    this.#byResponse.delete(responseId)
  }

  /** Twice as long each time, up to the most; longer when the account asked for that. */
  #later(waiting: Waiting, askedMs = 0): void {
    if (this.#isClosed || !this.#byCall.has(waiting.pending.callId)) return
    const { backgroundPollMs, backgroundPollMaxMs } = this.#settings
    const ms = Math.min(backgroundPollMaxMs, backgroundPollMs * 2 ** Math.min(waiting.polls, 30))
    waiting.timer?.[Symbol.dispose]()
    waiting.timer = this.#clock.after(Math.max(ms, askedMs), () => this.#comeDue(waiting))
  }

  #comeDue(waiting: Waiting): void {
    this.#due.add(waiting)
    this.#next()
  }

  #next(): void {
    for (const waiting of this.#due) {
      if (this.#asking >= this.#settings.backgroundPollsMax || this.#isClosed) return
      this.#due.delete(waiting)
      this.#asking += 1
      void this.#poll(waiting).finally(() => {
        this.#asking -= 1
        this.#next()
      })
    }
  }

  async #poll(waiting: Waiting): Promise<void> {
    waiting.polls += 1
    const askedMs = await this.#ask(waiting, 'GET', '')
    const isTooOld = this.#clock.nowMs() - waiting.pending.row.beganAtMs > this.#settings.backgroundMaxMs
    if (isTooOld || waiting.unknown >= unknownMax) await this.#settle(waiting, undefined, undefined)
    this.#later(waiting, askedMs)
  }

  /** Asks once, and settles if it is over. Never rejects: whatever goes wrong, it is asked again. */
  #ask(waiting: Waiting, method: 'GET' | 'POST', part: string): Promise<number | undefined> {
    const asked = this.#askOf(waiting, method, part).catch((error: unknown) => {
      this.#gateway().log.error({ call: waiting.pending.callId, err: error }, 'a response in the background could not be asked for')
      return undefined
    })
    waiting.asking = asked.then(() => {})
    return asked
  }

  async #askOf(waiting: Waiting, method: 'GET' | 'POST', part: string): Promise<number | undefined> {
    const gateway = this.#gateway()
    const { accountId, responseId } = waiting.pending
    const account = gateway.directory.snapshot().accounts.get(accountId)
    if (account === undefined) {
      waiting.unknown = unknownMax // It was removed, and nobody else has the response.
      return undefined
    }
    const path = `/responses/${encodeURIComponent(responseId)}${part}`
    const question = { account, method, path, body: undefined, streams: false } as const
    const attempt = newKeptAttempt(question, {}, { ...gateway, live: this.#live })
    const beginning = await attempt.beginning
    const isUnknown = beginning.kind === 'refusal' && beginning.status === 404
    waiting.unknown = isUnknown && method === 'GET' ? waiting.unknown + 1 : 0
    if (beginning.kind === 'json' && isOver(beginning.facts)) await this.#settle(waiting, beginning.facts, beginning)
    return beginning.kind === 'fault' ? beginning.fault.askedMs : undefined
  }

  /** Once, whoever asks for it first. Without facts it is given up. */
  #settle(waiting: Waiting, facts: AnswerFacts | undefined, answer: Whole | undefined): Promise<void> {
    if (waiting.isOver) return Promise.resolve()
    waiting.settling ??= this.#settleNow(waiting, facts, answer).then(
      () => this.#forget(waiting),
      (error: unknown) => {
        waiting.settling = undefined
        this.#gateway().log.error({ call: waiting.pending.callId, err: error }, 'a response in the background could not be settled')
      },
    )
    return waiting.settling
  }

  async #settleNow({ pending }: Waiting, facts: AnswerFacts | undefined, answer: Whole | undefined): Promise<void> {
    const gateway = this.#gateway()
    // Another gateway may have told it already. Where nobody can say, the charge counts once all the same.
    const isSettled = await orBooksAway(() => gateway.pending.isSettled(pending.callId), gateway).catch(() => false)
    if (!isSettled) await settlePending(pending, facts, answer, gateway)
  }
}

function newWaiting(pending: PendingCall): Waiting {
  return { pending, polls: 0, unknown: 0, timer: undefined, asking: undefined, settling: undefined, isOver: false }
}

type Whole = Extract<Beginning, { kind: 'json' }>

function isOver({ status }: AnswerFacts): boolean {
  return status !== null && Object.hasOwn(ends, status)
}

const ends: Readonly<Record<string, Ended>> = { completed: 'completed', incomplete: 'incomplete', failed: 'failed', cancelled: 'cancelled' }

async function settlePending(
  pending: PendingCall,
  facts: AnswerFacts | undefined,
  answer: Whole | undefined,
  gateway: Gateway,
): Promise<void> {
  const { callId, funds, call, expected } = pending
  const { usage, basis } = await usageOf(pending, facts, answer, gateway)
  const { model, tier, multiplier, isUnpricedFree } = pending
  const priced = priceOf({ facts, usage, model, tier, multiplier, isUnpricedFree, atMs: pending.row.beganAtMs }, gateway)
  const atMs = gateway.clock.nowMs()
  const row = {
    ...pending.row,
    ...priced,
    ended: ends[facts?.status ?? ''] ?? 'cut',
    fault: facts === undefined ? 'background_lost' : null,
    basis,
    usage,
    durationMs: Math.max(0, atMs - pending.row.beganAtMs),
    uncollectedWhy: whyBeyondHold(expected, usage),
  }
  const contextTokens = usage.inputTokens + usage.outputTokens
  const owner = { userId: row.userId, accountId: pending.accountId, contextTokens, atMs, model: pending.modelTold }
  const owners = facts === undefined ? [] : madeIn(facts, owner)
  if (facts === undefined) gateway.log.warn({ call: callId, response: pending.responseId }, 'a response in the background is lost')
  tell(row, undefined, gateway)
  const charge = { cost: row.cost, entryId: newId(atMs), atMs }
  await gateway.books.end({ callId, funds, call, charge, row, attempts: [], owners, endsPending: true })
}

/**
 * As it was reported. Of one that failed or was cancelled without saying, nobody knows that it used anything; of one that is lost
 * neither. One that is whole and says nothing is counted.
 */
async function usageOf(
  { estimatedInput }: PendingCall,
  facts: AnswerFacts | undefined,
  answer: Whole | undefined,
  { counter }: Gateway,
): Promise<{ usage: Usage; basis: Basis }> {
  if (facts?.usage) return { usage: facts.usage, basis: 'reported' }
  if (facts === undefined || facts.status === 'failed' || facts.status === 'cancelled') return { usage: noUsage, basis: 'none' }
  const texts = answer === undefined ? [] : kept.textsOfBody(answer.body)
  const counts = await counter.count({ body: undefined, inputTexts: [], outputTexts: texts })
  const outputTokens = counts?.outputTokens ?? Math.ceil(texts.reduce((bytes, text) => bytes + Buffer.byteLength(text), 0) / bytesPerToken)
  return { usage: { ...noUsage, inputTokens: estimatedInput, outputTokens }, basis: 'estimated' }
}

/** About what OpenAI's vocabularies make of English. */
const bytesPerToken = 4
