import { Fault } from '../lib/fault.ts'

/**
 * Whether a client has left before it heard everything, and whom that concerns. An AbortSignal says the same, but to make one and to add and
 * remove three listeners costs 5 µs (Node 24); so there is one only for whoever asks for it, and a call in which nobody waits does not.
 */
export class Leaving {
  #hasLeft = false
  readonly #concerned: (() => void)[] = []
  #controller: AbortController | undefined

  get hasLeft(): boolean {
    return this.#hasLeft
  }

  /** Aborted with the fault `client_left`. */
  get signal(): AbortSignal {
    if (this.#controller === undefined) {
      this.#controller = new AbortController()
      if (this.#hasLeft) this.#controller.abort(new Fault('client_left'))
    }
    return this.#controller.signal
  }

  /** The client is gone. */
  leave(): void {
    if (this.#hasLeft) return
    this.#hasLeft = true
    for (const concerned of this.#concerned.splice(0)) concerned()
    this.#controller?.abort(new Fault('client_left'))
  }

  /** Calls `then` when the client leaves, unless it is told to forget that first. Whoever has left already leaves no more. */
  tell(then: () => void): void {
    this.#concerned.push(then)
  }

  forget(then: () => void): void {
    const at = this.#concerned.indexOf(then)
    if (at >= 0) this.#concerned.splice(at, 1)
  }
}

/** What `promise` becomes, or `undefined` as soon as the client leaves. */
export function unlessLeft<Result>(promise: Promise<Result>, leaving: Leaving): Promise<Result | undefined> {
  if (leaving.hasLeft) return Promise.resolve(undefined)
  return new Promise((resolve, reject) => {
    const leave = () => resolve(undefined)
    leaving.tell(leave)
    promise.then(
      result => {
        leaving.forget(leave)
        resolve(result)
      },
      error => {
        leaving.forget(leave)
        reject(error)
      },
    )
  })
}
