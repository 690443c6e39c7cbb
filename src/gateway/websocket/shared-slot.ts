import { type Coordinator, isOverRate, type Slot } from '../../coordination/coordinator.ts'

/** A slot that several hold one after another: it is given back when the last of them has done so. */
export class SharedSlot {
  readonly #slot: Slot
  #holders = 0

  constructor(slot: Slot) {
    this.#slot = slot
  }

  /** One more who holds it. To be asked for only while somebody does. */
  share(): Slot {
    this.#holders += 1
    let isHeld = true
    return {
      name: this.#slot.name,
      [Symbol.asyncDispose]: async () => {
        if (!isHeld) return
        isHeld = false
        this.#holders -= 1
        if (this.#holders === 0) await this.#slot[Symbol.asyncDispose]()
      },
    }
  }
}

/**
 * The slots of a response, the user's and the account's, which its successor takes over: the upstream begins that one by itself, in the
 * same moment, and would not wait for a line.
 */
export class Places {
  user: SharedSlot | undefined
  account: SharedSlot | undefined
  /** Remembers what it gives. */
  readonly coordinator: Coordinator

  constructor(coordinator: Coordinator) {
    const ofAccount = (slot: Slot) => (this.account = new SharedSlot(slot)).share()
    this.coordinator = {
      ...coordinator,
      enter: async (caller, waiter) => (this.user = new SharedSlot(await coordinator.enter(caller, waiter))).share(),
      take: async account => {
        const slot = await coordinator.take(account)
        return slot === undefined || isOverRate(slot) ? slot : ofAccount(slot)
      },
      wait: async (entry, waiter) => {
        const turn = await coordinator.wait(entry, waiter)
        return 'slot' in turn ? { ...turn, slot: ofAccount(turn.slot) } : turn
      },
    }
  }
}
