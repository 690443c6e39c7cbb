import type { Coordinator } from '../coordinator.ts'
import type { Wire } from './wire.ts'

/** Which account a session's prompt cache is warm at, in Redis, which forgets what has run out. */
export function redisSessions(wire: Wire, nowMs: () => number): Pick<Coordinator, 'session' | 'bindSession'> {
  return {
    async session(key, ttlMs) {
      const accountId = await wire.run('session-find', [keyOf(key)], [nowMs(), ttlMs])
      return accountId === null ? undefined : String(accountId)
    },
    async bindSession(key, accountId, ttlMs) {
      await wire.command('SET', keyOf(key), `${nowMs() + ttlMs} ${accountId}`, 'PX', ttlMs)
    },
  }
}

function keyOf(session: string): string {
  return `hg:session:${session}`
}
