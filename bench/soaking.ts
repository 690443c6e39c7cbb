import { join } from 'node:path'
import { DatabaseSync } from 'node:sqlite'
import { setTimeout as pause } from 'node:timers/promises'
import { openSim, type Sim } from '../sim/sim.ts'
import { connectApi, pathOf } from '../src/cli/client.ts'
import { openLedger } from '../src/ledger/ledger.ts'
import { systemClock } from '../src/lib/clock.ts'
import { openSqlite } from '../src/storage/sqlite.ts'
import { type GatewayProcess, startGateway } from '../test/anomaly/gateway-process.ts'
import { send, type Target } from '../test/client.ts'
import { shown, slopeOf } from './figures.ts'
import { type Clients, loadOf, models } from './soak-clients.ts'

export interface Soak {
  readonly folder: string
  readonly ms: number
  /** How often a line is told. */
  readonly everyMs: number
  readonly tell: (line: string) => void
  /** How long a call may take before it counts as hung and is ended. */
  readonly hungAfterMs?: number
}

export interface Soaked {
  readonly calls: number
  /** What an hour would add, by the second half. */
  readonly growth: { readonly rssMiB: number; readonly heldMiB: number; readonly handles: number }
  /** What is not given back when nobody calls any more. */
  readonly left: {
    readonly calls: number
    readonly drains: number
    readonly slots: number
    readonly holds: number
    readonly differences: number
    /** Calls that nobody would have answered any more. */
    readonly hung: number
  }
}

/** The program itself under half of the load that it can bear: streams, whole answers, leavers, slow readers, upstreams that fail. */
export async function soak({ folder, ms, everyMs, tell, hungAfterMs = patienceMs }: Soak): Promise<Soaked> {
  await using scope = new AsyncDisposableStack()
  const sim = scope.use(
    await openSim({ record: false, prices: Object.fromEntries(models.map(model => [model, { input: '2', output: '10' }])) }),
  )
  play(sim)
  const data = join(folder, 'data')
  const gateway = scope.use(await startGateway(data, { stopNoticeMs: 0 }))
  const { url } = gateway
  const keys = await furnish(url, data, sim.url)
  const targets = keys.map(key => ({ url, key }))

  await capacity(targets, hungAfterMs) // Compiled code is what is soaked.
  const perSecond = (await capacity(targets, hungAfterMs)) / 2
  tell(`half of what it can bear: ${shown(perSecond)} calls a second`)
  const clients = loadOf(targets, { perSecond, hungAfterMs, tell })
  const samples = await watch({ url, data, ms, everyMs, tell, clients })
  clients.stop()
  await clients.ended
  const left = { ...(await leftOf(gateway, data)), hung: clients.told.outcomes.get('hung') ?? 0 }
  return { calls: clients.told.calls, growth: growthOf(samples), left }
}

/** Far beyond what the gateway may take for any of these calls: two lines of 30 s each, and an answer of some seconds. */
const patienceMs = 180_000

function play(sim: Sim): void {
  sim.script({ model: 'sim' }, {})
  sim.script({ model: 'long' }, { deltas: 40, betweenEventsMs: 25 })
  sim.script({ model: 'slow' }, { deltas: 200, outputTokens: 4_000 })
  sim.script({ model: 'broken' }, { end: 'cut', afterEvents: 5 })
  sim.script({ model: 'late' }, { firstEventAfterMs: 300, betweenEventsMs: 20, deltas: 20 })
  // One of its two accounts fails at every call: the other has to answer, and its circuit opens and closes again.
  sim.script({ key: 'up-1', model: 'failing' }, { status: 500 })
}

async function furnish(url: string, data: string, upstream: string): Promise<string[]> {
  const api = connectApi({ url, data, adminToken: null })
  const users = Array.from({ length: 20 }, (_, number) => `user${number}@example.com`)
  const account = { baseUrl: `${upstream}/v1`, groups: ['default'], allowPrivateAddress: true, concurrency: 200 }
  const setup = {
    groups: [{ name: 'default' }],
    accounts: [1, 2].map(number => ({ name: `account${number}`, apiKey: `up-${number}`, ...account })),
    users: users.map(email => ({ email, concurrency: 50 })),
    prices: models.map(model => ({ model, input: '2', cached: '0.2', output: '10' })),
  }
  await api.send('POST', pathOf('apply'), { setup })
  const keys: string[] = []
  for (const user of users) {
    await api.send('POST', pathOf('wallets', user, 'credit'), { amount: '1000000', reason: 'soak' })
    keys.push(String((await api.send('POST', pathOf('keys'), { user, groups: ['default'], name: 'soak' }))['key']))
  }
  return keys
}

/** Whole answers a second, when as many are asked for at a time as there are keys. */
async function capacity(targets: readonly Target[], hungAfterMs: number): Promise<number> {
  let answered = 0
  const untilMs = performance.now() + capacityMs
  await Promise.all(
    targets.map(async target => {
      for (; performance.now() < untilMs; answered += 1) await send(target, { signal: AbortSignal.timeout(hungAfterMs) })
    }),
  )
  return (answered * 1000) / capacityMs
}

const capacityMs = 2_000

interface Sample {
  readonly atMs: number
  readonly rssMiB: number
  readonly heldMiB: number
  readonly handles: number
}

type Watching = Pick<Soak, 'ms' | 'everyMs' | 'tell'> & { readonly url: string; readonly data: string; readonly clients: Clients }

async function watch({ url, data, ms, everyMs, tell, clients }: Watching): Promise<Sample[]> {
  const samples: Sample[] = []
  const startedMs = performance.now()
  let toldMs = startedMs
  while (performance.now() - startedMs < ms) {
    await pause(Math.min(sampleMs, ms / 20))
    const now = await metricsOf(url)
    const nowMs = performance.now()
    const bytes = (name: string) => (now.get(name) ?? Number.NaN) / 2 ** 20
    const heldMiB = bytes('nodejs_heap_size_used_bytes') + bytes('nodejs_external_memory_bytes')
    const sample = {
      atMs: nowMs,
      rssMiB: bytes('process_resident_memory_bytes'),
      heldMiB,
      handles: now.get('nodejs_active_resources_total') ?? Number.NaN,
    }
    samples.push(sample)
    if (nowMs - toldMs < everyMs) continue
    toldMs = nowMs
    const outcomes = [...clients.told.outcomes].map(([name, count]) => `${name} ${count}`).join(', ')
    const held = `${openHolds(data)} holds, ${now.get('headgate_account_slots_taken')} slots, ${now.get('headgate_drains')} drains`
    const memory = `${shown(sample.rssMiB)} MiB resident, ${shown(heldMiB)} MiB held, ${sample.handles} handles`
    tell(`${shown((nowMs - startedMs) / 60_000)} min: ${memory}; ${held}; ${outcomes}`)
  }
  return samples
}

const sampleMs = 5_000

/** Those without labels. */
async function metricsOf(url: string): Promise<Map<string, number>> {
  const text = await (await fetch(`${url}/metrics`, { signal: AbortSignal.timeout(patienceMs) })).text()
  return new Map([...text.matchAll(/^(\w+) (\S+)$/gm)].map(([, name, value]) => [name!, Number(value)]))
}

function openHolds(data: string): number {
  const books = new DatabaseSync(join(data, 'headgate.db'), { readOnly: true, timeout: 5_000 })
  try {
    return Number(books.prepare(`select count(*) as count from holds where state = 'held'`).get()!.count)
  } finally {
    books.close()
  }
}

/** Drains end by themselves. What is still there after that stays. */
async function leftOf({ url, child, exit }: GatewayProcess, data: string): Promise<Omit<Soaked['left'], 'hung'>> {
  const count = async () => {
    const now = await metricsOf(url)
    const of = (name: string) => now.get(`headgate_${name}`) ?? Number.NaN
    return { calls: of('calls_running'), drains: of('drains'), slots: of('account_slots_taken'), holds: openHolds(data) }
  }
  const untilMs = performance.now() + drainMs
  let left = await count()
  while (Object.values(left).some(one => one !== 0) && performance.now() < untilMs) {
    await pause(200)
    left = await count()
  }
  child.kill('SIGTERM')
  await exit
  const database = await openSqlite(join(data, 'headgate.db'))
  const differences = (await openLedger(database, systemClock).check()).length
  await database.close()
  return { ...left, differences }
}

const drainMs = 70_000

function growthOf(samples: readonly Sample[]): Soaked['growth'] {
  const later = samples.slice(Math.floor(samples.length / 2))
  const slope = (figure: (sample: Sample) => number) => slopeOf(later.map(sample => [sample.atMs, figure(sample)])) * 3_600_000
  return { rssMiB: slope(one => one.rssMiB), heldMiB: slope(one => one.heldMiB), handles: slope(one => one.handles) }
}
