import type { Waiter } from '../coordination/coordinator.ts'
import type { Clock, Timer } from '../lib/clock.ts'
import type { Fault } from '../lib/fault.ts'
import type { Leaving } from './leaving.ts'

/** What ends a wait: the client leaves, the gateway stops, or so much time has passed, with the fault that `tooLong` makes. */
export interface Ends {
  readonly leaving: Leaving
  readonly closing: AbortSignal
  readonly clock: Clock
  readonly ms: number
  readonly tooLong: () => Fault
}

/**
 * How long one is willing to wait: a signal that aborts, with what says why, whichever comes first. Nothing is made and nothing is
 * listened to before somebody asks for the signal, because hardly anybody has to wait.
 */
export class Patience implements Waiter, Disposable {
  readonly #ends: Ends
  #controller: AbortController | undefined
  #timer: Timer | undefined
  #leave: (() => void) | undefined
  #close: (() => void) | undefined

  constructor(ends: Ends) {
    this.#ends = ends
  }

  get signal(): AbortSignal {
    this.#controller ??= this.#begin()
    return this.#controller.signal
  }

  /** There is nothing to wait for any more. */
  giveUp(why: unknown): void {
    this.#controller?.abort(why)
  }

  [Symbol.dispose](): void {
    this.#timer?.[Symbol.dispose]()
    if (this.#leave) this.#ends.leaving.forget(this.#leave)
    if (this.#close) this.#ends.closing.removeEventListener('abort', this.#close)
  }

  #begin(): AbortController {
    const { leaving, closing, clock, ms, tooLong } = this.#ends
    const controller = new AbortController()
    this.#leave = () => controller.abort(leaving.signal.reason)
    this.#close = () => controller.abort(closing.reason)
    if (leaving.hasLeft) this.#leave()
    else leaving.tell(this.#leave)
    if (closing.aborted) this.#close()
    else closing.addEventListener('abort', this.#close)
    this.#timer = clock.after(Math.max(0, ms), () => controller.abort(tooLong()))
    return controller
  }
}
