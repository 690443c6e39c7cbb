import type { Coordinator } from '../coordinator.ts'
import { RedisAway, type Wire } from './wire.ts'

const channel = 'hg:directory'

/** That the directory has changed is only called out: nothing hangs on its being heard, because the books say it, too. */
export function openNews(wire: Wire): Pick<Coordinator, 'announce' | 'onAnnounced'> {
  const listeners = new Set<() => void>()
  wire.hear(channel, () => {
    for (const changed of listeners) changed()
  })
  return {
    async announce() {
      try {
        await wire.command('PUBLISH', channel, '')
      } catch (error) {
        if (!(error instanceof RedisAway)) throw error // Redis is away, which was told when it was noticed.
      }
    },
    onAnnounced(changed) {
      listeners.add(changed)
      return { [Symbol.dispose]: () => void listeners.delete(changed) }
    },
  }
}
