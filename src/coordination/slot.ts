import { overAtOnce } from '../lib/soon.ts'
import type { Slot } from './coordinator.ts'

/** A slot that is given back once, however often it is disposed of. */
export function newSlot(name: string, giveBack: () => void): Slot {
  return new HeldSlot(name, giveBack)
}

/** Its giving back is over at once, and does not fail: whoever else must hear of it is told afterwards. */
export class HeldSlot implements Slot {
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
    return overAtOnce
  }
}
