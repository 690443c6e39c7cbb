import type { Timer } from '../lib/clock.ts'
import { Fault } from '../lib/fault.ts'
import { overAtOnce, type Soon } from '../lib/soon.ts'
import { nothingWritten, type Written } from '../protocols/answer-text.ts'
import { codeVerdict, kindOf, readAnswer } from '../protocols/openai-events.ts'
import {
  type AnswerError,
  type AnswerFacts,
  type AnswerStream,
  type AnswerTold,
  AnswerUnreadable,
  type EventRead,
  nothingTold,
  type Telling,
} from '../protocols/protocol.ts'
import { dataOf } from '../protocols/sse.ts'
import type { EventSink, StreamEnd } from '../upstreams/attempt.ts'
import { afterAnswer, afterFault } from '../upstreams/rest.ts'
import type { AttemptFaultName } from '../upstreams/verdict.ts'
import type { Admission } from './admit.ts'
import { type Client, madeUpId } from './client.ts'
import { begin, goesOn } from './conclude.ts'
import { toolWatch } from './extend.ts'
import { abandon, changeCondition, closeRow, type Reply } from './forward.ts'
import type { Gateway } from './gateway.ts'
import { unlessLeft } from './leaving.ts'
import { answerHeaders } from './request-headers.ts'

/**
 * How an answer ended, and what it says of its usage. An early end is an outcome, not an error: it too is settled.
 * `last` is all that the client has not seen yet; it leaves once the charge is durable.
 */
export interface Outcome {
  readonly reply: Reply
  readonly status: number
  /** What the upstream said at the end; undefined when it never came to that. */
  readonly facts: AnswerFacts | undefined
  /** Why there is no end, when there is none. */
  readonly fault: AttemptFaultName | undefined
  /** What an `error` event said of the call itself, when the stream had no better end: nobody is to blame but the client. */
  readonly error: AnswerError | undefined
  /** Nothing of an answer came, only that there is none. */
  readonly isEmpty: boolean
  /** What it told before it broke, where a protocol tells that before the end. */
  readonly told: AnswerTold
  /** The text that came, for an estimate. It is read when it is asked for. */
  readonly written: () => Written
  readonly last:
    | { readonly kind: 'events'; readonly events: readonly Buffer[] }
    /** The response goes on without this connection, so no end is made up for it. */
    | { readonly kind: 'cut' }
    | { readonly kind: 'body'; readonly headers: Readonly<Record<string, string>>; readonly body: Buffer }
}

type Parts = Pick<
  Gateway,
  'background' | 'books' | 'clock' | 'counter' | 'directory' | 'coordinator' | 'drain' | 'ledger' | 'live' | 'log' | 'metrics' | 'settings'
>

/** Streams all but the last event, or takes the whole answer. The account's slot is back when this is there. */
export function relay(reply: Reply, admission: Admission, client: Client, gateway: Parts): Soon<Outcome> {
  const { receipt } = admission
  if (reply.beginning.kind !== 'refusal') receipt.firstTokenMs = Math.round(gateway.clock.elapsedMs() - receipt.startedMs)
  if (reply.beginning.kind === 'stream') return relayStream(reply, admission, client, gateway)
  const givingBack = reply.slot[Symbol.asyncDispose]()
  const outcome = () => wholeAnswer(reply, admission)
  return givingBack === overAtOnce ? outcome() : givingBack.then(outcome)
}

async function relayStream(reply: Reply, admission: Admission, client: Client, gateway: Parts): Promise<Outcome> {
  const relaying = new StreamRelay(reply, admission, client, gateway)
  client.beginStream(answerHeaders(reply.beginning.headers))
  const running = relaying.run(gateway)
  const outcome = await unlessLeft(running, client.leaving)
  if (outcome !== undefined) return outcome
  relaying.leave()
  // Its end is asked for: nothing is gained by reading on.
  if (admission.receipt.isPending) reply.attempt.abort()
  gateway.drain.takeRunning({ reply, running }, admission)
  throw client.left.reason
}

/** An answer whose client left before it began: it is read all the same, to learn what it cost. */
export async function readUnheard(reply: Reply, admission: Admission, gateway: Parts): Promise<Outcome> {
  if (reply.beginning.kind === 'stream') return new StreamRelay(reply, admission, undefined, gateway).run(gateway)
  await reply.slot[Symbol.asyncDispose]()
  return wholeAnswer(reply, admission)
}

function wholeAnswer(reply: Reply, { call }: Admission): Outcome {
  const { beginning } = reply
  if (beginning.kind === 'stream') throw new Error('a stream is no whole answer')
  const isAlias = reply.server.model !== call.facts.model
  const body = beginning.kind === 'json' && isAlias ? call.protocol.renameInBody(beginning.body, call.facts.model) : beginning.body
  const facts = beginning.kind === 'json' ? beginning.facts : undefined
  const written = () => (beginning.kind === 'json' ? { texts: call.protocol.textsOfBody(body), share: 1 } : nothingWritten)
  const last = { kind: 'body', headers: answerHeaders(beginning.headers), body } as const
  return { reply, status: beginning.status, facts, fault: undefined, error: undefined, isEmpty: false, told: nothingTold, written, last }
}

/** After the terminal event only a few bytes may follow (`data: [DONE]`), and soon. */
const tailMs = 100
const tailBytesMax = 4096

/** Passes events as they come and reads copies of the few that matter. Holds the terminal event back. */
class StreamRelay implements EventSink {
  readonly #reply: Reply
  readonly #answer: AnswerStream
  readonly #telling: Telling
  readonly #toolWatch: ReturnType<typeof toolWatch>
  #client: Client | undefined
  readonly #admission: Admission
  readonly #parts: Parts
  /** While the first event waits for the books to have its id, and after. */
  #begun: Promise<void> | undefined
  #error: AnswerError | undefined
  #isEmpty = true
  #terminal: { readonly facts: AnswerFacts; readonly events: Buffer[]; bytes: number } | undefined
  #terminated: (() => void) | undefined

  constructor(reply: Reply, admission: Admission, client: Client | undefined, gateway: Parts) {
    const { facts, protocol } = admission.call
    this.#reply = reply
    this.#admission = admission
    this.#parts = gateway
    this.#client = client
    this.#toolWatch = toolWatch(admission, gateway)
    this.#answer = protocol.openAnswer({ facts, renameTo: reply.server.model === facts.model ? undefined : facts.model })
    this.#telling = { id: madeUpId(admission.receipt.id), model: facts.model, createdAtMs: gateway.clock.nowMs() }
  }

  /** The client is gone: nothing is written any more, and nothing waits for them to read. */
  leave(): void {
    this.#client = undefined
    this.#reply.attempt.resume()
  }

  /** Never rejects: a mistake of ours ends the answer, and an answer that ended is settled. */
  async run(gateway: Parts): Promise<Outcome> {
    try {
      return await this.#run(gateway)
    } catch (error) {
      gateway.log.error({ err: error }, 'an answer could not be passed on')
      abandon(this.#reply.attempt, gateway)
      await this.#reply.slot[Symbol.asyncDispose]()
      return this.#outcome('gateway')
    }
  }

  async #run(gateway: Parts): Promise<Outcome> {
    const { clock, settings, metrics } = gateway
    const { attempt, server, slot, row } = this.#reply
    const startedMs = clock.elapsedMs() - (row.durationMs ?? 0)
    let tail: Timer | undefined
    this.#terminated = () => {
      // The answer is whole. An upstream that keeps the line open does not keep the client waiting.
      tail = clock.after(tailMs, () => attempt.abort())
    }
    const end = await attempt.pipe(this)
    await this.#begun
    tail?.[Symbol.dispose]()
    await slot[Symbol.asyncDispose]()
    row.durationMs = Math.round(clock.elapsedMs() - startedMs)
    const fault = this.#faultOf(end)
    if (fault !== undefined) {
      closeRow(row, attempt, { name: fault, status: row.status }, row.durationMs)
      metrics.attempts.inc({ account: server.account.name, ended: fault })
      const blame = { name: fault, status: row.status }
      const nowMs = clock.nowMs()
      const when = { nowMs, sentAtMs: row.beganAtMs }
      await changeCondition(server, condition => afterFault(condition, blame, server.model, { ...settings, ...when }), gateway)
    } else {
      await changeCondition(server, condition => afterAnswer(condition, row.beganAtMs), gateway)
    }
    return this.#outcome(fault)
  }

  event(raw: Buffer, type: string): boolean {
    if (this.#terminal !== undefined) return this.#tail(raw, this.#terminal)
    let read: EventRead
    try {
      read = this.#answer.read(raw, type)
    } catch (error) {
      if (!(error instanceof AnswerUnreadable)) throw error
      // An end that cannot be read is none: what it used nobody knows, and the client could not read it either.
      this.#reply.attempt.abort('stream_malformed')
      return true
    }
    if (read.kind === 'ends') return this.#end(read)
    if (read.kind === 'fails') this.#error = read.error
    this.#toolWatch?.(type)
    if (read.bytes === undefined) return true
    if (read.kind === 'passes') this.#isEmpty = false
    if (this.#admission.call.facts.background && this.#begun === undefined) return this.#begin(raw, type, read.bytes)
    return this.#write(read.bytes)
  }

  /** The first event of a response in the background tells its id: it waits until the books know whose that is. */
  #begin(raw: Buffer, type: string, bytes: Buffer): boolean {
    const facts = kindOf(type) === 'lifecycle' ? readAnswer(dataOf(raw)) : undefined
    if (facts === undefined || !goesOn(facts, this.#admission)) return this.#write(bytes)
    const { attempt } = this.#reply
    this.#begun = begin(facts, this.#reply, this.#admission, this.#parts).then(() => {
      if (this.#write(bytes)) attempt.resume()
    })
    this.#begun.catch(() => attempt.abort('gateway')) // A mistake of ours; `run` says it.
    return false
  }

  comment(raw: Buffer): boolean {
    return this.#terminal === undefined ? this.#write(raw) : this.#tail(raw, this.#terminal)
  }

  #write(raw: Buffer): boolean {
    const client = this.#client
    if (client === undefined || client.hasLeft || client.write(raw)) return true
    client.onDrain(() => this.#reply.attempt.resume())
    return false
  }

  #end({ bytes, facts }: Extract<EventRead, { kind: 'ends' }>): boolean {
    this.#isEmpty = false
    this.#terminal = { facts, events: [bytes], bytes: 0 }
    this.#terminated?.()
    return true
  }

  #tail(raw: Buffer, terminal: { events: Buffer[]; bytes: number }): boolean {
    terminal.bytes += raw.length
    if (terminal.bytes <= tailBytesMax) terminal.events.push(raw)
    return true
  }

  #faultOf(end: StreamEnd): AttemptFaultName | undefined {
    if (this.#terminal !== undefined || (this.#saidOfCall !== undefined && end !== 'aborted')) return undefined
    return end === 'ended' ? 'stream_unended' : end
  }

  /** The client's own fault never counts against an account. */
  get #saidOfCall(): AnswerError | undefined {
    const error = this.#error
    return error !== undefined && codeVerdict(error.code, error.type) === 'client' ? error : undefined
  }

  #outcome(fault: AttemptFaultName | undefined): Outcome {
    const answer = this.#answer
    const shared = { reply: this.#reply, status: 200, isEmpty: this.#isEmpty, told: answer.told, written: () => answer.written() }
    if (this.#terminal !== undefined) {
      const { facts, events } = this.#terminal
      return { ...shared, facts, fault: undefined, error: undefined, last: { kind: 'events', events } }
    }
    if (this.#admission.receipt.isPending) return { ...shared, facts: undefined, fault, error: undefined, last: { kind: 'cut' } }
    const error = fault === undefined ? this.#saidOfCall : undefined
    const failure = { code: error?.code ?? 'server_error', message: error?.message ?? new Fault('upstream_cut').message }
    const last = { kind: 'events', events: answer.failure(failure, this.#telling) } as const
    return { ...shared, facts: undefined, fault, error, last }
  }
}
