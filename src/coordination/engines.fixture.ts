import { afterAll } from 'vitest'
import { redisProgram } from '../../test/redis-server.ts'
import type { Clock } from '../lib/clock.ts'
import { Fault } from '../lib/fault.ts'
import type { AccountLimit, Caller, Coordinator, LineEntry, LinesNow, Slot, Turn, Waiter } from './coordinator.ts'
import { inMemory } from './memory.ts'
import { openBed, type RedisBed, settled, stillTime } from './redis.fixture.ts'
import { slotOf } from './slots.fixture.ts'

/** With a way to wait until everybody who can go on has: everything is handed over without a timer. All are entered by a promise. */
export interface Watched extends Coordinator {
  enter(caller: Caller, waiter: Waiter): Promise<Slot>
  linesNow(): LinesNow
  settled(): Promise<unknown>
}

/** What every coordinator promises. An engine is a line here. */
export const engines: readonly { readonly name: string; readonly runs: number; open(clock: Clock): Promise<Watched> }[] = [
  { name: 'in memory', runs: 100, open: async clock => hereAlone(clock) },
  ...(redisProgram === undefined ? [] : [{ name: 'in Redis', runs: 60, open: inRedis }]),
]

function hereAlone(clock: Clock): Watched {
  const lines = inMemory(clock)
  const enter: Watched['enter'] = async (asked, waiter) => lines.enter(asked, waiter)
  return { ...lines, enter, settled: () => new Promise(setImmediate) }
}

let bed: RedisBed | undefined

/** One at a time, on a Redis that knows nothing. */
async function inRedis(clock: Clock): Promise<Watched> {
  bed ??= await openBed('a cluster')
  await bed.clear()
  const lines = await bed.open(stillTime(clock))
  return Object.assign(lines, { settled: () => settled(lines) })
}

afterAll(() => bed?.[Symbol.asyncDispose]())

export const patient: Waiter = new AbortController()
export const nobody: LinesNow = { callersRunning: 0, callersWaiting: 0, accountsTaken: 0, accountsWaiting: 0 }

export const caller = (user: string, userSlots: number, key = 'k', keySlots = 0): Caller => ({
  userId: user,
  keyId: `${user}-${key}`,
  userSlots,
  keySlots,
  waitingMax: 100,
})

/** Notes who got a slot, in which order, and keeps the slots by name. */
export function notebook(lines: Pick<Watched, 'settled'>) {
  const order: string[] = []
  const slots = new Map<string, Slot>()
  return {
    order,
    async settled(): Promise<string[]> {
      await lines.settled()
      return order.splice(0)
    },
    note(name: string, got: Promise<Slot | Turn>) {
      got.then(
        granted => {
          if ('over' in granted) return order.push(`${name}@${granted.accountId}: over`)
          slots.set(name, slotOf(granted))
          return order.push('accountId' in granted ? `${name}@${granted.accountId}` : name)
        },
        error => order.push(`${name}: ${error instanceof Fault ? error.fault : error}`),
      )
    },
    give: (name: string) => slots.get(name)![Symbol.asyncDispose](),
    giveAll: () => Promise.all([...slots.values()].map(slot => slot[Symbol.asyncDispose]())),
  }
}

export const entry = (user: string, accounts: readonly AccountLimit[], more: Partial<LineEntry> = {}): LineEntry => ({
  pool: 'p',
  userId: user,
  accounts,
  waitingMax: 100,
  ...more,
})

export const a: AccountLimit = { accountId: 'a', slots: 1 }
export const b: AccountLimit = { accountId: 'b', slots: 1 }
