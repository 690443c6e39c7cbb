import { Fault } from '../lib/fault.ts'
import { kindOf, readAnswer, renameModel, renameModelInBody, sequenceOf, textBytesOf } from '../protocols/openai-events.ts'
import type { AnswerFacts } from '../protocols/protocol.ts'
import { dataOf } from '../protocols/sse.ts'
import type { EventSink, StreamEnd } from '../upstreams/attempt.ts'
import { afterFault } from '../upstreams/rest.ts'
import type { AttemptFaultName } from '../upstreams/verdict.ts'
import type { Admission } from './admit.ts'
import type { Client } from './client.ts'
import { closeRow, type Reply } from './forward.ts'
import type { Gateway } from './gateway.ts'
import { unlessAborted } from './patience.ts'
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
  /** Bytes of text that came as deltas, for an estimate. */
  readonly textBytes: number
  readonly last:
    | { readonly kind: 'events'; readonly events: readonly Buffer[] }
    | {
        readonly kind: 'failure'
        readonly fault: Fault
        readonly nextSequence: number
        readonly lifecycle: string | undefined
        readonly model: string
      }
    | { readonly kind: 'body'; readonly headers: Readonly<Record<string, string>>; readonly body: Buffer }
}

type Parts = Pick<Gateway, 'clock' | 'coordinator' | 'settings' | 'drain' | 'metrics'>

/** Streams all but the last event, or takes the whole answer. The account's slot is back when this returns. */
export async function relay(reply: Reply, admission: Admission, client: Client, gateway: Parts): Promise<Outcome> {
  const { receipt } = admission
  receipt.firstTokenMs = Math.round(gateway.clock.elapsedMs() - receipt.startedMs)
  if (reply.beginning.kind !== 'stream') {
    await reply.slot[Symbol.asyncDispose]()
    return wholeAnswer(reply, admission)
  }
  const relaying = new StreamRelay(reply, admission, client)
  client.beginStream(answerHeaders(reply.beginning.headers))
  const running = relaying.run(gateway)
  const outcome = await unlessAborted(running, client.left)
  if (outcome !== undefined) return outcome
  relaying.leave()
  gateway.drain.takeRunning({ reply, running }, admission)
  throw client.left.reason
}

/** An answer whose client left before it began: it is read all the same, to learn what it cost. */
export async function readUnheard(reply: Reply, admission: Admission, gateway: Parts): Promise<Outcome> {
  if (reply.beginning.kind === 'stream') return new StreamRelay(reply, admission, undefined).run(gateway)
  await reply.slot[Symbol.asyncDispose]()
  return wholeAnswer(reply, admission)
}

function wholeAnswer(reply: Reply, { call }: Admission): Outcome {
  const { beginning } = reply
  if (beginning.kind === 'stream') throw new Error('a stream is no whole answer')
  const isAlias = reply.server.model !== call.facts.model
  const body = beginning.kind === 'json' && isAlias ? renameModelInBody(beginning.body, call.facts.model) : beginning.body
  const facts = beginning.kind === 'json' ? beginning.facts : undefined
  const headers = answerHeaders(beginning.headers)
  return { reply, status: beginning.status, facts, fault: undefined, textBytes: 0, last: { kind: 'body', headers, body } }
}

/** After the terminal event only a few bytes may follow (`data: [DONE]`), and soon. */
const tailMs = 100
const tailBytesMax = 4096

/** Passes events as they come and reads copies of the few that matter. Holds the terminal event back. */
class StreamRelay implements EventSink {
  readonly #reply: Reply
  readonly #model: string
  readonly #isAlias: boolean
  #client: Client | undefined
  #textBytes = 0
  #lastEvent: Buffer | undefined
  #lifecycle: Buffer | undefined
  #terminal: { readonly facts: AnswerFacts; readonly events: Buffer[]; bytes: number } | undefined
  #terminated: (() => void) | undefined

  constructor(reply: Reply, { call }: Admission, client: Client | undefined) {
    this.#reply = reply
    this.#client = client
    this.#model = call.facts.model
    this.#isAlias = reply.server.model !== call.facts.model
  }

  /** The client is gone: nothing is written any more, and nothing waits for them to read. */
  leave(): void {
    this.#client = undefined
    this.#reply.attempt.resume()
  }

  async run({ clock, coordinator, settings, metrics }: Parts): Promise<Outcome> {
    const { attempt, server, slot, row } = this.#reply
    const startedMs = clock.elapsedMs() - (row.durationMs ?? 0)
    this.#terminated = () => {
      // The answer is whole. An upstream that keeps the line open does not keep the client waiting.
      const tail = clock.after(tailMs, () => attempt.abort())
      void ended.finally(() => tail[Symbol.dispose]())
    }
    const ended = attempt.pipe(this)
    const end = await ended
    await slot[Symbol.asyncDispose]()
    row.durationMs = Math.round(clock.elapsedMs() - startedMs)
    const fault = this.#terminal === undefined ? faultOfEnd(end) : undefined
    if (fault !== undefined) {
      closeRow(row, attempt, { name: fault, status: row.status }, row.durationMs)
      metrics.attempts.inc({ account: server.account.name, ended: fault })
      const blame = { name: fault, status: row.status }
      await coordinator.change(server.account.id, condition =>
        afterFault(condition, blame, server.model, { ...settings, nowMs: clock.nowMs() }),
      )
    }
    return this.#outcome(fault)
  }

  event(raw: Buffer, type: string): boolean {
    const terminal = this.#terminal
    if (terminal !== undefined) return this.#tail(raw, terminal)
    const kind = kindOf(type)
    let bytes = raw
    if (kind === 'delta') {
      this.#textBytes += textBytesOf(raw, type)
    } else if (kind !== 'error') {
      if (this.#isAlias) bytes = renameModel(raw, this.#model)
      if (kind === 'lifecycle') this.#lifecycle = bytes
      else return this.#end(raw, bytes)
    }
    this.#lastEvent = raw
    return this.#write(bytes)
  }

  other(raw: Buffer): void {
    if (this.#terminal !== undefined) this.#tail(raw, this.#terminal)
    else this.#write(raw)
  }

  #write(raw: Buffer): boolean {
    const client = this.#client
    if (client === undefined || client.hasLeft || client.write(raw)) return true
    client.onDrain(() => this.#reply.attempt.resume())
    return false
  }

  #end(raw: Buffer, bytes: Buffer): boolean {
    this.#terminal = { facts: readAnswer(dataOf(raw)), events: [bytes], bytes: 0 }
    this.#terminated?.()
    return true
  }

  #tail(raw: Buffer, terminal: { events: Buffer[]; bytes: number }): boolean {
    terminal.bytes += raw.length
    if (terminal.bytes <= tailBytesMax) terminal.events.push(raw)
    return true
  }

  #outcome(fault: AttemptFaultName | undefined): Outcome {
    const shared = { reply: this.#reply, status: 200, textBytes: this.#textBytes }
    if (this.#terminal !== undefined) {
      const { facts, events } = this.#terminal
      return { ...shared, facts, fault: undefined, last: { kind: 'events', events } }
    }
    const lastSequence = this.#lastEvent === undefined ? undefined : sequenceOf(this.#lastEvent)
    const last = {
      kind: 'failure',
      fault: new Fault('upstream_cut'),
      nextSequence: (lastSequence ?? -1) + 1,
      lifecycle: this.#lifecycle && dataOf(this.#lifecycle),
      model: this.#model,
    } as const
    return { ...shared, facts: undefined, fault, last }
  }
}

function faultOfEnd(end: StreamEnd): AttemptFaultName {
  return end === 'ended' ? 'stream_unended' : end
}
