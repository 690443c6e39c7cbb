type Disposed = AsyncDisposable | Disposable

/**
 * What has to be undone at the end of a scope, the last first: `AsyncDisposableStack`, and `await using` for several things, on the way of
 * every call. The platform's own costs 1.7 µs with one thing in it and one deferred, this 0.4 (Node 24, CPU time of a function that only
 * opens one).
 */
export class Scope implements AsyncDisposable {
  #undone: (Disposed | (() => PromiseLike<void>))[] = []

  /** Disposes of it when the scope ends, and returns it. */
  use<Thing extends Disposed>(thing: Thing): Thing {
    this.#undone.push(thing)
    return thing
  }

  defer(undo: () => PromiseLike<void>): void {
    this.#undone.push(undo)
  }

  /** Hands all of it on: this scope's end undoes nothing any more. */
  move(): Scope {
    const moved = new Scope()
    moved.#undone = this.#undone
    this.#undone = []
    return moved
  }

  /** Undoes everything, though one of them fails; then rejects with what failed first. Safe twice. */
  async [Symbol.asyncDispose](): Promise<void> {
    let failure: { readonly error: unknown } | undefined
    for (let undone = this.#undone.pop(); undone !== undefined; undone = this.#undone.pop()) {
      try {
        const undoing = typeof undone === 'function' ? undone() : dispose(undone)
        if (undoing !== undefined) await undoing
      } catch (error) {
        failure ??= { error }
      }
    }
    if (failure !== undefined) throw failure.error
  }
}

function dispose(thing: Disposed): PromiseLike<void> | undefined {
  if (Symbol.asyncDispose in thing) return thing[Symbol.asyncDispose]()
  thing[Symbol.dispose]()
  return undefined
}
