import type { Slot } from '../coordination/coordinator.ts'
import { HeldSlot } from '../coordination/slot.ts'
import type { Log } from '../lib/log.ts'
import type { Soon } from '../lib/soon.ts'

/**
 * Does what is right to do, but nothing that the call hangs on: that it failed is written down, and spoils no answer.
 * What it comes to is undefined then.
 */
export function beside<Result>(what: string, log: Log, work: () => Soon<Result>): Soon<Result | undefined> {
  try {
    const done = work()
    return done instanceof Promise ? done.catch(error => failed(what, log, error)) : done
  } catch (error) {
    return failed(what, log, error)
  }
}

function failed(what: string, log: Log, error: unknown): undefined {
  log.warn({ err: error }, `${what}: failed, and the call goes on without it`)
}

/** The same slot, except that giving it back never fails: when the coordinator did not hear of it, the lease ends it. */
export function sureSlot(slot: Slot, log: Log): Slot {
  return slot instanceof HeldSlot ? slot : new SureSlot(slot, log)
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
    this.#givenBack ??= this.#giveBack()
    return this.#givenBack
  }

  async #giveBack(): Promise<void> {
    await beside('giving back a slot', this.#log, () => this.#slot[Symbol.asyncDispose]())
  }
}
