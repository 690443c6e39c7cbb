import type { Slot } from './coordinator.ts'

/** A slot that is given back once, however often it is disposed of. */
export function newSlot(name: string, giveBack: () => void): Slot {
  return new HeldSlot(name, giveBack)
}

/** What giving back resolves to where nobody has to be told. */
export const givenBackAtOnce = Promise.resolve()

class HeldSlot implements Slot {
  readonly name: string
  #giveBack: (() => void) | undefined

  constructor(name: string, giveBack: () => void) {
    this.name = name
    this.#giveBack = giveBack
  }

  [Symbol.asyncDispose](): Promise<void> {
    const giveBack = this.#giveBack
    this.#giveBack = undefined
    giveBack?.()
    return givenBackAtOnce
  }
}
