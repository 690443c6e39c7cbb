import type { Slot } from './coordinator.ts'

/** A slot that is given back once, however often it is disposed of. */
export function newSlot(name: string, giveBack: () => void): Slot {
  let held = true
  return {
    name,
    [Symbol.asyncDispose]() {
      if (held) {
        held = false
        giveBack()
      }
      return done
    },
  }
}

const done = Promise.resolve()
