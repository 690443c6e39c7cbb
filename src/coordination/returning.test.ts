import { expect, test } from 'vitest'
import { manualClock } from '../ledger/books.fixture.ts'
import { inMemory } from './memory.ts'
import { openTogether } from './redis/together.ts'
import type { Wire } from './redis/wire.ts'
import { Resilient } from './resilient.ts'
import { slotOf } from './slots.fixture.ts'

/** A Redis that takes everything, and keeps what it was told. */
function listening(): { readonly wire: Wire; readonly told: Set<string | number> } {
  const told = new Set<string | number>()
  const wire: Wire = {
    async run(script, _keys, args) {
      for (const arg of args) told.add(arg)
      return script === 'callers-enter' ? ['taken'] : 0
    },
    command: async () => undefined,
    hear() {},
    connect: async () => {},
    close() {},
  }
  return { wire, told }
}

/** By the turns of promises, because the moment is that short. */
const turns = Array.from({ length: 16 }, (_, count) => count)

test.for(turns)('a slot that is taken %i turns after the others are back is said to Redis', async count => {
  const clock = manualClock(0)
  const { wire, told } = listening()
  const openAlone = () => inMemory(clock)
  const parts = { nodes: () => 1, hasLapsed: () => false, onAlone() {}, onTogether() {} }
  const lines = new Resilient({ process: 'p', openAlone, ...parts })
  const others = Promise.withResolvers<void>()
  const together = openTogether({ wire, clock, generation: '1', aheadMs: () => 0, unheard() {} })
  const returning = lines.goTogether(together, () => others.promise)
  await new Promise(resolve => setImmediate(resolve))

  others.resolve()
  for (let turn = 0; turn < count; turn += 1) await undefined
  const taking = lines.enter({ userId: 'u', keyId: 'k', userSlots: 0, keySlots: 0, waitingMax: 1 }, new AbortController())
  await returning
  const slot = slotOf(await taking)
  expect(told).toContain('p:1')
  await slot[Symbol.asyncDispose]()
})
