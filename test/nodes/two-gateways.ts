import { mkdtempSync } from 'node:fs'
import { join } from 'node:path'
import type { Settings } from '../../src/config/settings.ts'
import { readConfig } from '../../src/config.ts'
import { type Adapters, type Headgate, openHeadgate } from '../../src/headgate.ts'
import { type Clock, systemClock } from '../../src/lib/clock.ts'
import { silentLog } from '../../src/lib/log.ts'
import type { Nodes } from '../../src/nodes.ts'
import { DatabaseAway } from '../../src/storage/database.ts'
import { urlAt } from '../shared-cluster.ts'
import { openWorld, quick, type World, type WorldOptions } from '../world.ts'

/** A world whose gateway is not the only one on its books. They share nothing but a PostgreSQL server. */
export interface Shared extends World {
  /** Another gateway. It is stopped with the world, unless it was before. */
  beside(options?: { readonly settings?: Partial<Settings>; readonly adapters?: Adapters }): Promise<Beside>
}

export type Beside = Headgate & { readonly nodes: Nodes }

const secretKey = 'ab'.repeat(32)

export async function openShared(options: WorldOptions = {}): Promise<Shared> {
  await using scope = new AsyncDisposableStack()
  const shared = { secretKey, databaseUrl: await urlAt(`shared${Math.random()}`) }
  const world = scope.use(await openWorld({ ...options, settings: { ...options.settings, ...shared } }))
  const rest = scope.move()
  return {
    ...world,
    async beside({ settings, adapters } = {}) {
      const data = mkdtempSync(join(world.folder, 'beside-'))
      const { settings: defaults } = readConfig({ env: {}, flags: {}, cwd: data })
      const listen = { host: '127.0.0.1', port: 0 }
      let nodes: Nodes | undefined
      const opened = await openHeadgate(
        { ...defaults, data, listen, ...quick, ...shared, ...options.settings, ...settings },
        silentLog,
        needs => {
          nodes = needs.nodes
          return (_, response) => response.writeHead(404).end()
        },
        adapters,
      )
      let stopping: Promise<void> | undefined
      const beside = { ...opened, nodes: nodes!, stop: () => (stopping ??= opened.stop()) }
      rest.defer(() => beside.stop())
      return beside
    },
    [Symbol.asyncDispose]: () => rest.disposeAsync(),
  }
}

/** The system's own, but ahead by so much, or behind. */
export function skewedClock(aheadMs: number): Clock {
  return { ...systemClock, nowMs: () => systemClock.nowMs() + aheadMs }
}

/** Books that count how often a lease was renewed in them, and can be away for that alone. */
export function watchedLease() {
  const lease = { isAway: false, renewals: 0 }
  const adapters: Adapters = {
    wrapDatabase: database => ({
      ...database,
      async commit(steps, durability) {
        const isRenewal = steps[0]?.statement.sql.startsWith('insert into leases') ?? false
        if (isRenewal && lease.isAway) throw new DatabaseAway('away, as planned')
        const committed = await database.commit(steps, durability)
        if (isRenewal) lease.renewals += 1
        return committed
      },
    }),
  }
  return { lease, adapters }
}
