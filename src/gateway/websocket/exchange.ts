import { eventOf, refusalIn, responseIdIn, type ServerMessage } from '../../protocols/openai-websocket.ts'
import type { AnswerHandler, ExchangeControl } from '../../upstreams/exchange-control.ts'

/** What an exchange asks of the socket that it runs on. */
export interface Wire {
  readonly headers: Readonly<Record<string, string>>
  /** Nothing is read of any lane until all who asked for silence have had enough of it. */
  pause(exchange: Exchange): void
  resume(exchange: Exchange): void
  /** The upstream has said which response this is. */
  named(exchange: Exchange, responseId: string): void
  /** It is over: its lane is free. */
  ended(exchange: Exchange): void
  /** Nobody wants it any more, and there is no way to tell the upstream so. */
  abandoned(): void
}

/**
 * One response on an upstream's WebSocket, told to whoever reads it as the answer to an HTTP call would be: so an attempt, and all
 * that follows it, does not know the difference. What comes before somebody reads it waits, and the socket with it.
 */
export class Exchange implements ExchangeControl {
  readonly lane: string
  /** Resolves when the upstream has no more to say of it. */
  readonly over: Promise<void>
  responseId: string | undefined
  aborted = false
  paused = false
  reason: Error | null = null
  readonly #wire: Wire
  readonly #waiting: ServerMessage[] = []
  /** Of the response before it in this lane, of which a last word may still come. */
  readonly #lastId: string | undefined
  #handler: AnswerHandler | undefined
  #hasBegun = false
  #isOver = false
  #broken: Error | undefined
  #end!: () => void

  constructor(lane: string, wire: Wire, lastId: string | undefined) {
    this.lane = lane
    this.#wire = wire
    this.#lastId = lastId
    this.over = new Promise(resolve => {
      this.#end = resolve
    })
  }

  get isOver(): boolean {
    return this.#isOver
  }

  /** Somebody reads it from now on, and hears at once what came before. */
  readBy(handler: AnswerHandler): void {
    this.#handler = handler
    handler.onRequestStart(this)
    for (let message = this.#waiting.shift(); message !== undefined && !this.aborted; message = this.#waiting.shift()) this.#tell(message)
    if (this.#broken !== undefined && !this.aborted) handler.onResponseError(this, this.#broken)
    this.resume()
  }

  /** A message of its lane. */
  take(message: ServerMessage): void {
    if (isTerminal(message) && this.#lastId !== undefined && responseIdIn(message.bytes) === this.#lastId) return
    if (this.responseId === undefined) this.#name(message)
    if (this.#handler === undefined) {
      this.#waiting.push(message)
      this.pause()
    } else if (!this.aborted) {
      this.#tell(message)
    }
    if (isTerminal(message)) this.#over()
  }

  /** The upstream would not have it, or refused the whole socket. */
  refuse({ status, headers, body }: ReturnType<typeof refusalIn>): void {
    this.#handler?.onResponseStart(this, status, { ...this.#wire.headers, ...headers })
    this.#handler?.onResponseData(this, body)
    this.#handler?.onResponseEnd(this)
    this.#over()
  }

  /** The socket broke. */
  break(error: Error): void {
    if (this.#isOver) return
    this.#over()
    this.#broken = error
    if (!this.aborted) this.#handler?.onResponseError(this, error)
  }

  // What an attempt calls ---------------------------------------------------------------------------------------------

  abort(reason: Error): void {
    if (this.aborted) return
    this.aborted = true
    this.reason = reason
    this.#waiting.length = 0
    this.resume()
    if (!this.#isOver) this.#wire.abandoned()
  }

  pause(): void {
    if (this.#isOver) return
    this.paused = true
    this.#wire.pause(this)
  }

  resume(): void {
    this.paused = false
    this.#wire.resume(this)
  }

  // -------------------------------------------------------------------------------------------------------------------

  #name({ bytes, type }: ServerMessage): void {
    const id = type.startsWith('response.') ? responseIdIn(bytes) : undefined
    if (id === undefined) return
    this.responseId = id
    this.#wire.named(this, id)
  }

  #tell(message: ServerMessage): void {
    if (!this.#hasBegun) {
      if (message.type === 'error') return this.refuse(refusalIn(message.bytes))
      this.#hasBegun = true
      this.#handler?.onResponseStart(this, 200, { ...this.#wire.headers, 'content-type': 'text/event-stream' })
    }
    this.#handler?.onResponseData(this, eventOf(message))
    if (isTerminal(message)) this.#handler?.onResponseEnd(this)
  }

  #over(): void {
    if (this.#isOver) return
    this.#isOver = true
    this.resume()
    this.#wire.ended(this)
    this.#end()
  }
}

/** After an `error` nothing follows that could be counted on: it too ends a response. */
function isTerminal({ type }: ServerMessage): boolean {
  return type === 'response.completed' || type === 'response.incomplete' || type === 'response.failed' || type === 'error'
}
