import type { Clock } from '../../lib/clock.ts'
import type { AccountLimit, Caller, Coordinator } from '../coordinator.ts'
import { type CallerSlot, RedisCallers } from './callers.ts'
import { RedisConditions } from './conditions.ts'
import { overRate, redisMeters } from './meters.ts'
import { type AccountSlot, RedisPools } from './pools.ts'
import { redisSessions } from './sessions.ts'
import type { RedisAway, Wire } from './wire.ts'

/** A slot by its name in Redis: a user's and a key's, or one of some accounts. */
export type NamedSlot = CallerSlot | AccountSlot

/** What this process has. */
export type Running = { readonly id: string } & ({ readonly caller: Caller } | { readonly account: AccountLimit })

/** What the gateways agree on in Redis, from one return to the next silence. */
export interface Together extends Pick<Coordinator, 'spend' | 'correct' | 'session' | 'bindSession'> {
  readonly callers: RedisCallers
  readonly pools: RedisPools
  readonly conditions: RedisConditions
  /** Gives back what may be there. */
  leave(slot: NamedSlot): void
  /** Says that these run, over the limits if need be. Resolves to how many are over. */
  register(running: readonly Running[]): Promise<number>
  /** Asks what became of everybody who waits: a notification may have been lost. False when Redis does not know one of them. */
  check(): Promise<boolean>
  /** What was published for this process: "caller SLOT" or "account SLOT ACCOUNT", and "METER MS" when its rates had no room. */
  heard(message: string): void
  /** Whoever waits here does not any more. */
  end(why: RedisAway): void
}

export interface TogetherParts {
  readonly wire: Wire
  readonly clock: Clock
  readonly generation: string
  /** How far everybody's time is ahead of this process's. */
  readonly aheadMs: () => number
  readonly unheard: (slot: NamedSlot) => void
}

export function openTogether({ wire, clock, generation, aheadMs, unheard }: TogetherParts): Together {
  const nowMs = () => clock.nowMs() + aheadMs()
  const callers = new RedisCallers({ wire, generation, nowMs, unheard })
  const conditions = new RedisConditions(wire, clock, aheadMs)
  const pools = new RedisPools({ wire, generation, nowMs, clock, conditions, unheard })
  return {
    callers,
    pools,
    conditions,
    ...redisMeters(wire, nowMs),
    ...redisSessions(wire, nowMs),
    leave(slot) {
      if ('caller' in slot) callers.leave(slot)
      else pools.leave(slot)
    },
    async register(running) {
      const users = running.flatMap(one => ('caller' in one ? [one] : []))
      const accounts = running.flatMap(one => ('account' in one ? [one] : []))
      const [ofUsers, ofAccounts] = await Promise.all([callers.register(users), pools.register(accounts)])
      return ofUsers + ofAccounts
    },
    async check() {
      const known = await Promise.all([callers.check(), pools.check()])
      return !known.includes(false)
    },
    heard(message) {
      const [whose, id = '', accountId = '', ...fullest] = message.split(' ')
      if (whose === 'caller') callers.heard(id)
      else pools.heard(id, accountId, overRate(fullest))
    },
    end(why) {
      callers.end(why)
      pools.end(why)
    },
  }
}
