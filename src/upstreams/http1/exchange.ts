import type { AnswerHandler, ExchangeControl } from '../exchange-control.ts'
import type { Headers } from '../verdict.ts'

/** The connection that an exchange runs on. */
export interface Line {
  pause(): void
  resume(): void
  /** The rest of the answer is not wanted. */
  abandon(): void
}

/** What is written: a head that has been checked, and slices of a body; none for none. */
export interface Request {
  readonly head: string
  readonly body: readonly Buffer[]
}

const written: Request = { head: '', body: [] }

/** One request and its answer: what it is told goes to the handler, until it is over. */
export class Exchange implements ExchangeControl {
  aborted = false
  #request: Request
  readonly #handler: AnswerHandler
  #line: Line | undefined
  #isPaused = false
  #isOver = false

  constructor(request: Request, handler: AnswerHandler) {
    this.#request = request
    this.#handler = handler
  }

  get isOver(): boolean {
    return this.#isOver
  }

  get isPaused(): boolean {
    return this.#isPaused
  }

  /** To whoever writes it, who lets go of what is written: it would be held until the end of the answer otherwise. */
  takeRequest(): Request {
    const request = this.#request
    this.#request = written
    return request
  }

  /** It is about to be written there. False when it is not wanted any more: then nothing may be. */
  start(line: Line): boolean {
    try {
      this.#handler.onRequestStart(this)
    } catch (error) {
      this.fail(error)
    }
    if (this.#isOver) return false
    this.#line = line
    if (this.#isPaused) line.pause()
    return true
  }

  // What a handler throws while it is told something ends the exchange, and is told to it.

  answer(status: number, headers: Headers): void {
    try {
      this.#handler.onResponseStart(this, status, headers)
    } catch (error) {
      this.#quit(error)
    }
  }

  bring(piece: Buffer): void {
    try {
      this.#handler.onResponseData(this, piece)
    } catch (error) {
      this.#quit(error)
    }
  }

  end(): void {
    this.#over()
    try {
      this.#handler.onResponseEnd(this)
    } catch (error) {
      this.#tell(error)
    }
  }

  fail(error: unknown): void {
    if (this.#isOver) return
    this.#over()
    this.#tell(error)
  }

  // What a handler calls -----------------------------------------------------------------------------------------------

  abort(reason: Error): void {
    if (this.#isOver) return
    this.aborted = true
    this.#quit(reason)
  }

  pause(): void {
    if (this.#isOver || this.#isPaused) return
    this.#isPaused = true
    this.#line?.pause()
  }

  resume(): void {
    if (this.#isOver || !this.#isPaused) return
    this.#isPaused = false
    this.#line?.resume()
  }

  // --------------------------------------------------------------------------------------------------------------------

  #quit(reason: unknown): void {
    const line = this.#line
    this.fail(reason)
    line?.abandon()
  }

  #over(): void {
    this.#isOver = true
    this.#line = undefined
    this.#request = written
  }

  #tell(error: unknown): void {
    try {
      this.#handler.onResponseError(this, error instanceof Error ? error : new Error(String(error)))
    } catch {
      // It has been told how it ended, and there is nobody else to tell.
    }
  }
}
