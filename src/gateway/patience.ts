import type { Clock } from '../lib/clock.ts'
import type { Fault } from '../lib/fault.ts'

/** How long one is willing to wait: a signal that aborts, with the fault that says why, whichever comes first. */
export interface Patience extends Disposable {
  readonly signal: AbortSignal
  /** There is nothing to wait for any more. */
  giveUp(why: Fault): void
}

/**
 * Ends when the client leaves, when the gateway stops, or after `ms` with the fault that `tooLong` makes.
 * By hand, because `AbortSignal.any` and `.timeout` together cost several microseconds a call.
 */
export function patience(
  signals: readonly AbortSignal[],
  { clock, ms, tooLong }: { clock: Clock; ms: number; tooLong: () => Fault },
): Patience {
  const controller = new AbortController()
  const listening = signals.map(signal => {
    const leave = () => controller.abort(signal.reason)
    if (signal.aborted) leave()
    else signal.addEventListener('abort', leave)
    return () => signal.removeEventListener('abort', leave)
  })
  const timer = clock.after(Math.max(0, ms), () => controller.abort(tooLong()))
  return {
    signal: controller.signal,
    giveUp: why => controller.abort(why),
    [Symbol.dispose]() {
      timer[Symbol.dispose]()
      for (const stop of listening) stop()
    },
  }
}

/** What `promise` becomes, or `undefined` as soon as the signal is aborted. */
export function unlessAborted<Result>(promise: Promise<Result>, signal: AbortSignal): Promise<Result | undefined> {
  if (signal.aborted) return Promise.resolve(undefined)
  return new Promise((resolve, reject) => {
    const leave = () => resolve(undefined)
    signal.addEventListener('abort', leave)
    promise.then(
      result => {
        signal.removeEventListener('abort', leave)
        resolve(result)
      },
      error => {
        signal.removeEventListener('abort', leave)
        reject(error)
      },
    )
  })
}
