import type { Clock } from '../lib/clock.ts'
import { Deadline } from '../lib/deadline.ts'
import type { Listed, Roster } from '../lib/roster.ts'
import type { AnswerFacts, Protocol } from '../protocols/protocol.ts'
import { type OnComment, type OnEvent, type SseReader, sseReader } from '../protocols/sse.ts'
import { type Egress, EgressForbidden, type Outbound } from './egress.ts'
import type { AnswerHandler, ExchangeControl } from './exchange-control.ts'
import { type AttemptFault, type AttemptFaultName, type Headers, verdictOfCode, verdictOfStatus } from './verdict.ts'

export interface AttemptSettings {
  readonly jsonHeadersTimeoutMs: number
  readonly firstEventTimeoutMs: number
  readonly betweenBytesTimeoutMs: number
  readonly answerBytesMax: number
}

/** What is asked: in whose words the answer will be, and whether a stream may come. */
export interface AttemptAsk {
  readonly protocol: Protocol
  readonly streams: boolean
}

/** `live` has every attempt that is not over, so that stopping can end them. */
export interface AttemptParts {
  readonly egress: Egress
  readonly clock: Clock
  readonly settings: AttemptSettings
  readonly live: Roster<Attempt>
}

/** How an attempt began, or that it did not. */
export type Beginning =
  /** The first event is here; the rest comes by `pipe`. `isRefusal`: it says no more than what the client did wrong. */
  | { readonly kind: 'stream'; readonly status: number; readonly headers: Headers; readonly isRefusal: boolean }
  /** The whole JSON answer, and what it says. */
  | { readonly kind: 'json'; readonly status: number; readonly headers: Headers; readonly body: Buffer; readonly facts: AnswerFacts }
  /** The client's own fault: status and body are relayed word for word. */
  | { readonly kind: 'refusal'; readonly status: number; readonly headers: Headers; readonly body: Buffer }
  | { readonly kind: 'fault'; readonly fault: AttemptFault; readonly headers: Headers; readonly cause?: unknown }

/** How a stream ended: by itself, or by one of these faults. */
export type StreamEnd = 'ended' | Extract<AttemptFaultName, 'stream_cut' | 'stream_stalled' | 'stream_malformed' | 'aborted'>

/** Where a stream goes, in the order in which it came. Returning false asks for silence until `resume`. */
export interface EventSink {
  /** The bytes as they came, the blank line included. */
  event(raw: Buffer, type: string): boolean
  /** A comment of the upstream's. */
  comment(raw: Buffer): boolean
}

/** Whoever may leave before an attempt begins to answer. */
export interface Leaves {
  readonly hasLeft: boolean
  tell(then: () => void): void
  forget(then: () => void): void
}

/** An error page longer than this is no error message. */
const refusalBytesMax = 1024 * 1024

/**
 * One call, sent to one account, once. `beginning` never rejects. Whoever pipes the stream must see it to its end or
 * abort it: until then it occupies a connection.
 */
export class Attempt implements AnswerHandler, Listed {
  /** When it was sent, and how long until its first event or its headers, in the clock's elapsed milliseconds. */
  firstEventMs: number | undefined
  upstreamRequestId: string | undefined
  before: this | undefined
  after: this | undefined

  readonly #clock: Clock
  /** Of what is waited for now. */
  readonly #deadline: Deadline
  readonly #settings: AttemptSettings
  readonly #ask: AttemptAsk
  readonly #live: Roster<Attempt>
  readonly #startedMs: number
  #events: Events | undefined
  #beginning: Beginning | undefined
  #begun: PromiseWithResolvers<Beginning> | undefined
  #tellBegun: ((beginning: Beginning) => void) | undefined
  #control: ExchangeControl | undefined
  #timerFault: AttemptFaultName
  #status = 0
  #headers: Headers = {}
  #mode: 'waiting' | 'stream' | 'json' | 'refusal' | 'over' = 'waiting'
  #body: Buffer[] = []
  #bodyBytes = 0
  #hasBegun = false
  /** The sink asked for silence. */
  #isPaused = false
  /** Without a type: a comment. */
  #pending: Array<{ raw: Buffer; type: string | undefined }> = []
  #sink: EventSink | undefined
  #end: ((end: StreamEnd) => void) | undefined
  #ended: StreamEnd | undefined
  #abortedWhy: AttemptFaultName | undefined

  constructor(outbound: Outbound, ask: AttemptAsk, parts: AttemptParts) {
    const { clock, settings, egress } = parts
    this.#clock = clock
    this.#settings = settings
    this.#live = parts.live
    this.#live.add(this)
    this.#ask = ask
    this.#startedMs = clock.elapsedMs()
    this.#timerFault = ask.streams ? 'first_event_timeout' : 'headers_timeout'
    this.#deadline = new Deadline(clock, settings.betweenBytesTimeoutMs, () => this.#timedOut())
    this.#deadline.set(ask.streams ? settings.firstEventTimeoutMs : settings.jsonHeadersTimeoutMs)
    try {
      egress.send(outbound, this)
    } catch (error) {
      this.#fail(error instanceof EgressForbidden ? 'egress_forbidden' : 'gateway', error)
    }
  }

  /** How it began, when that is known. */
  get beginning(): Promise<Beginning> {
    this.#begun ??= Promise.withResolvers<Beginning>()
    if (this.#beginning !== undefined) this.#begun.resolve(this.#beginning)
    return this.#begun.promise
  }

  /** The same for one who waits only as long as somebody is there; undefined when they left before. To be asked once. */
  beginningUnlessLeft(leaving: Leaves): Promise<Beginning | undefined> {
    if (leaving.hasLeft) return Promise.resolve(undefined)
    if (this.#beginning !== undefined) return Promise.resolve(this.#beginning)
    return new Promise(resolve => {
      const leave = () => resolve(undefined)
      leaving.tell(leave)
      this.#tellBegun = beginning => {
        leaving.forget(leave)
        resolve(beginning)
      }
    })
  }

  /** Whether any byte may have reached the upstream. */
  get isSent(): boolean {
    return this.#control !== undefined
  }

  /** Whether it is known how it began: by an answer or by a fault. */
  get hasBegun(): boolean {
    return this.#hasBegun
  }

  /** Ends it now. What has begun ends as `aborted`. */
  abort(why: AttemptFaultName = 'aborted'): void {
    this.#abortedWhy ??= why
    if (this.#control && !this.#control.aborted) this.#control.abort(new Error(`attempt ended: ${why}`))
    this.#fail(why, undefined)
  }

  /** Hands over the events, those already here first. */
  pipe(sink: EventSink): Promise<StreamEnd> {
    this.#sink = sink
    const end = new Promise<StreamEnd>(resolve => {
      this.#end = resolve
    })
    this.resume()
    return end
  }

  /** Goes on after the sink asked for silence. */
  resume(): void {
    this.#isPaused = false
    for (let kept = this.#pending.shift(); kept !== undefined; kept = this.#pending.shift()) {
      if (!this.#pass(kept.raw, kept.type)) {
        this.#isPaused = true
        return
      }
    }
    if (this.#ended !== undefined) return this.#end?.(this.#ended)
    this.#deadline.extend()
    this.#control?.resume()
  }

  // What an exchange calls -------------------------------------------------------------------------------------------

  onRequestStart(control: ExchangeControl): void {
    this.#control = control
    if (this.#abortedWhy !== undefined || this.#hasBegun) control.abort(new Error('attempt ended before it was sent'))
  }

  onResponseStart(_: ExchangeControl, status: number, headers: Headers): void {
    this.#status = status
    this.#headers = headers
    const id = headers['x-request-id']
    this.upstreamRequestId = typeof id === 'string' ? id.slice(0, 200) : undefined
    const isStream = String(headers['content-type'] ?? '').startsWith('text/event-stream')
    if (status >= 300) this.#mode = 'refusal'
    else if (isStream && !this.#ask.streams) this.#abortWith('body_malformed', 'an event stream was not asked for')
    else if (isStream) this.#mode = 'stream'
    else this.#mode = 'json'
    if (this.#mode === 'json' || this.#mode === 'refusal') this.#waitFor('body_cut', this.#settings.betweenBytesTimeoutMs)
  }

  onResponseData(control: ExchangeControl, chunk: Buffer): void {
    if (this.#mode === 'stream') return this.#readEvents(control, chunk)
    if (this.#mode === 'over') return
    this.#bodyBytes += chunk.length
    if (this.#mode === 'refusal' && this.#bodyBytes > refusalBytesMax) return
    if (this.#mode === 'json' && this.#bodyBytes > this.#settings.answerBytesMax) return this.abort('body_too_large')
    this.#deadline.extend()
    this.#body.push(chunk)
  }

  onResponseEnd(): void {
    const mode = this.#mode
    if (mode === 'stream') return this.#streamEnded()
    if (mode === 'over') return
    const body = this.#body.length === 1 ? this.#body[0]! : Buffer.concat(this.#body)
    if (mode === 'json') return this.#jsonEnded(body)
    const fault = this.#verdict(body)
    if (fault !== 'client') return this.#settleBeginning({ kind: 'fault', fault, headers: this.#headers })
    this.#settleBeginning({ kind: 'refusal', status: this.#status, headers: this.#headers, body })
  }

  onResponseError(_: ExchangeControl, error: Error): void {
    if (this.#mode === 'refusal' && this.#abortedWhy === undefined) return this.#refusalCut(error)
    this.#fail(this.#abortedWhy ?? faultOfError(error, this.#mode, this.isSent), error)
  }

  // ------------------------------------------------------------------------------------------------------------------

  #readEvents(control: ExchangeControl, chunk: Buffer): void {
    if (this.#hasBegun) this.#deadline.extend()
    try {
      const { reader, onEvent, onComment } = (this.#events ??= this.#openEvents())
      reader.push(chunk, onEvent, onComment)
    } catch (error) {
      return this.#abortWith('stream_malformed', error)
    }
    if (this.#isPaused || (this.#hasBegun && this.#sink === undefined)) control.pause()
  }

  #openEvents(): Events {
    return {
      reader: sseReader({ eventBytesMax: this.#settings.answerBytesMax }),
      onEvent: (raw, type) => this.#take(raw, type),
      onComment: raw => this.#take(raw, undefined),
    }
  }

  #take(raw: Buffer, type: string | undefined): void {
    if (this.#mode === 'over') return
    if (!this.#hasBegun && (type === undefined || !this.#beginWith(raw, type))) return
    // What is still in the chunk when the sink asks for silence is kept, and nothing more is read until `resume`.
    if (this.#isPaused || this.#sink === undefined) this.#pending.push({ raw, type })
    else this.#isPaused = !this.#pass(raw, type)
  }

  #pass(raw: Buffer, type: string | undefined): boolean {
    if (this.#sink === undefined) return false
    return type === undefined ? this.#sink.comment(raw) : this.#sink.event(raw, type)
  }

  /** The first event decides: an upstream's own fault is no answer. */
  #beginWith(raw: Buffer, type: string): boolean {
    const fault = firstEventFault(raw, type, this.#ask.protocol)
    if (fault !== undefined && fault !== 'client') {
      this.#abortWith(fault.name, undefined, fault)
      return false
    }
    this.#waitFor('stream_stalled', this.#settings.betweenBytesTimeoutMs)
    this.#settleBeginning({ kind: 'stream', status: this.#status, headers: this.#headers, isRefusal: fault === 'client' })
    return true
  }

  #jsonEnded(body: Buffer): void {
    try {
      const facts = this.#ask.protocol.readBody(body)
      this.#settleBeginning({ kind: 'json', status: this.#status, headers: this.#headers, body, facts })
    } catch (error) {
      this.#fail('body_malformed', error)
    }
  }

  #streamEnded(): void {
    // What stands after the last blank line is an event that was never finished, and so is none.
    this.#events?.reader.end()
    if (!this.#hasBegun) return this.#fail('reset', 'the stream ended before its first event')
    this.#endStream('ended')
  }

  #verdict(body: Buffer): AttemptFault | 'client' {
    return verdictOfStatus(this.#status, this.#headers, body.toString(), this.#clock.nowMs())
  }

  /** The status has said what is wrong, however much of the words came. What is the client's cannot be relayed so, and is asked elsewhere. */
  #refusalCut(cause: unknown): void {
    const fault = this.#verdict(Buffer.concat(this.#body))
    if (fault === 'client') this.#abortWith('body_cut', cause)
    else this.#abortWith(fault.name, cause, fault)
  }

  #timedOut(): void {
    if (this.#isPaused) return // The client is slow, not the upstream; whoever reads for it counts that time.
    if (this.#mode === 'refusal') this.#refusalCut('timed out')
    else this.#abortWith(this.#timerFault, 'timed out')
  }

  #waitFor(fault: AttemptFaultName, ms: number): void {
    this.#timerFault = fault
    this.#deadline.set(ms)
  }

  /** Ends it with a fault of its own, which is told even though the exchange will say "aborted". */
  #abortWith(name: AttemptFaultName, cause: unknown, fault?: AttemptFault): void {
    this.#abortedWhy ??= name
    this.#fail(name, cause, fault)
    if (this.#control && !this.#control.aborted) this.#control.abort(new Error(`attempt ended: ${name}`))
  }

  #fail(name: AttemptFaultName, cause: unknown, fault: AttemptFault = { name, status: this.#status || null }): void {
    if (this.#hasBegun) {
      if (this.#mode === 'stream') this.#endStream(streamEndOf(name))
      return
    }
    this.#settleBeginning({ kind: 'fault', fault, headers: this.#headers, cause })
    this.#over()
  }

  #settleBeginning(beginning: Beginning): void {
    if (this.#hasBegun) return
    this.#hasBegun = true
    this.firstEventMs = this.#clock.elapsedMs() - this.#startedMs
    this.#beginning = beginning
    this.#begun?.resolve(beginning)
    this.#tellBegun?.(beginning)
    if (beginning.kind !== 'stream') this.#over()
  }

  #endStream(end: StreamEnd): void {
    if (this.#ended !== undefined) return
    this.#ended = end
    this.#over()
    if (this.#pending.length === 0) this.#end?.(end)
  }

  #over(): void {
    this.#mode = 'over'
    this.#body = []
    this.#live.delete(this)
    this.#deadline[Symbol.dispose]()
  }
}

/** What reads a stream, and to whom it gives. */
interface Events {
  readonly reader: SseReader
  readonly onEvent: OnEvent
  readonly onComment: OnComment
}

function firstEventFault(raw: Buffer, type: string, protocol: Protocol): AttemptFault | 'client' | undefined {
  try {
    const error = protocol.errorIn(raw, type)
    return error && verdictOfCode(error.code, error.type ?? null)
  } catch {
    // An error event that cannot be read says nothing for the client, and is the upstream's doing.
    return { name: 'server', status: 500 }
  }
}

function streamEndOf(name: AttemptFaultName): StreamEnd {
  return name === 'stream_stalled' || name === 'stream_malformed' || name === 'aborted' ? name : 'stream_cut'
}

const unreachableCodes = new Set(['ECONNREFUSED', 'ENOTFOUND', 'EAI_AGAIN', 'EHOSTUNREACH', 'ENETUNREACH', 'ETIMEDOUT', 'EADDRNOTAVAIL'])

function faultOfError(error: Error & { code?: string }, mode: string, isSent: boolean): AttemptFaultName {
  if (error instanceof EgressForbidden) return 'egress_forbidden'
  if (error.code === 'UND_ERR_CONNECT_TIMEOUT') return 'connect_timeout'
  if (unreachableCodes.has(error.code ?? '') || !isSent) return 'unreachable'
  return mode === 'json' ? 'body_cut' : 'reset'
}
