import type { Headers } from './verdict.ts'

/**
 * Who is told what becomes of a request, in this order. Of how it ends it is told once, by `onResponseEnd` or by `onResponseError`, and
 * never before `send` has returned.
 */
export interface AnswerHandler {
  /** It is about to be written: from now on some of it may have reached the upstream, and before it none has. */
  onRequestStart(control: ExchangeControl): void
  /** The names are in lower case; a name that came several times has all its values. */
  onResponseStart(control: ExchangeControl, status: number, headers: Headers): void
  /** A piece of the body, which may be kept. */
  onResponseData(control: ExchangeControl, piece: Buffer): void
  onResponseEnd(control: ExchangeControl): void
  /** There was no connection, or it broke, or what came is no answer, or it was ended by `abort`. */
  onResponseError(control: ExchangeControl, error: Error): void
}

/** What whoever asked can do about it. When it is over, all of this does nothing. */
export interface ExchangeControl {
  readonly aborted: boolean
  /** Ends it now, and tells the handler of this reason. */
  abort(reason: Error): void
  /** Asks for silence until `resume`. */
  pause(): void
  resume(): void
}
