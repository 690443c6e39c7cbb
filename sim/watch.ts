/** Lets a test wait for a fact instead of sleeping. */
export interface Watch {
  /** Resolves with the first thing that `look` finds; looks now, and again whenever something changed. */
  until<Found>(look: () => Found | undefined): Promise<Found>
  /** The same for a fact that has nothing to show. */
  when(isSo: () => boolean): Promise<void>
  changed(): void
  /** Whoever still waits is told that it will never happen. */
  close(): void
}

/** A named place where calls wait. */
export interface Gate {
  /** Lets through those who wait, and all who come until it is shut again. */
  open(): void
  shut(): void
  /** How many calls wait here now. */
  readonly waiting: number
  /** Resolves once so many calls wait here. */
  reached(count?: number): Promise<void>
  /** Resolves when the gate is open. Rejects when `left` is aborted; whoever aborts it says `changed` to the watch. */
  pass(left: AbortSignal): Promise<void>
}

export function openWatch(): Watch {
  const waiters = new Set<{ look(): boolean; fail(error: Error): void }>()
  const until = <Found>(look: () => Found | undefined): Promise<Found> => {
    const { promise, resolve, reject } = Promise.withResolvers<Found>()
    const lookAndTell = () => {
      const value = look()
      if (value === undefined) return false
      resolve(value)
      return true
    }
    if (!lookAndTell()) waiters.add({ look: lookAndTell, fail: reject })
    return forgivable(promise)
  }
  return {
    until,
    when: isSo => forgivable(until(() => isSo() || undefined).then(() => {})),
    changed() {
      for (const waiter of waiters) if (waiter.look()) waiters.delete(waiter)
    },
    close() {
      for (const waiter of waiters) waiter.fail(new Error('the scripted upstream was closed before this happened'))
      waiters.clear()
    },
  }
}

/** Who awaits it hears of its failure; that nobody awaits it any longer must not end the program. */
function forgivable<Found>(promise: Promise<Found>): Promise<Found> {
  promise.catch(() => {})
  return promise
}

export function newGate(watch: Watch): Gate {
  let isOpen = false
  let waiting = 0
  return {
    open() {
      isOpen = true
      watch.changed()
    },
    shut() {
      isOpen = false
    },
    get waiting() {
      return waiting
    },
    reached: (count = 1) => watch.when(() => waiting >= count),
    async pass(left) {
      if (isOpen) return
      waiting += 1
      watch.changed()
      await watch.when(() => isOpen || left.aborted).finally(() => (waiting -= 1))
      left.throwIfAborted()
    },
  }
}
