import type { Slot } from '../coordination/coordinator.ts'
import type { Log } from '../lib/log.ts'

/**
 * Does what is right to do, but nothing that the call hangs on: that it failed is written down, and spoils no answer.
 * Resolves to undefined then.
 */
export async function beside<Result>(what: string, log: Log, work: () => Promise<Result>): Promise<Result | undefined> {
  try {
    return await work()
  } catch (error) {
    log.warn({ err: error }, `${what}: failed, and the call goes on without it`)
    return undefined
  }
}

/** The same slot, except that giving it back never fails: when the coordinator did not hear of it, the lease ends it. */
export function sureSlot(slot: Slot, log: Log): Slot {
  return new SureSlot(slot, log)
}

/** Given back by several, of whom only the first has anything to give. */
class SureSlot implements Slot {
  readonly #slot: Slot
  readonly #log: Log
  #givenBack: Promise<void> | undefined

  constructor(slot: Slot, log: Log) {
    this.#slot = slot
    this.#log = log
  }

  get name(): string {
    return this.#slot.name
  }

  [Symbol.asyncDispose](): Promise<void> {
    this.#givenBack ??= beside('giving back a slot', this.#log, async () => this.#slot[Symbol.asyncDispose]())
    return this.#givenBack
  }
}
