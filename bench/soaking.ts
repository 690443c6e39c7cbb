import { join } from 'node:path'
import { DatabaseSync } from 'node:sqlite'
import { setTimeout as pause } from 'node:timers/promises'
import { openSim, type Sim } from '../sim/sim.ts'
import { connectApi, pathOf } from '../src/cli/client.ts'
import { openLedger } from '../src/ledger/ledger.ts'
import { systemClock } from '../src/lib/clock.ts'
import { openSqlite } from '../src/storage/sqlite.ts'
import { type GatewayProcess, startGateway } from '../test/anomaly/gateway-process.ts'
import { randomFrom } from '../test/chance.ts'
import { openStream, send, type Target } from '../test/client.ts'
import { shown, slopeOf } from './figures.ts'

export interface Soak {
  readonly folder: string
  readonly ms: number
  /** How often a line is told. */
  readonly everyMs: number
  readonly tell: (line: string) => void
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
  }
}

/** The program itself under half of the load that it can bear: streams, whole answers, leavers, slow readers, upstreams that fail. */
export async function soak({ folder, ms, everyMs, tell }: Soak): Promise<Soaked> {
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

  await capacity(targets) // Compiled code is what is soaked.
  const perSecond = (await capacity(targets)) / 2
  tell(`half of what it can bear: ${shown(perSecond)} calls a second`)
  const clients = loadOf(targets, perSecond)
  const samples = await watch({ url, data, ms, everyMs, tell, clients })
  clients.stop()
  await clients.ended
  const left = await leftOf(gateway, data)
  return { calls: clients.told.calls, growth: growthOf(samples), left }
}

const models = ['sim', 'long', 'slow', 'broken', 'failing', 'late']

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
async function capacity(targets: readonly Target[]): Promise<number> {
  let answered = 0
  const untilMs = performance.now() + capacityMs
  await Promise.all(
    targets.map(async target => {
      for (; performance.now() < untilMs; answered += 1) await send(target)
    }),
  )
  return (answered * 1000) / capacityMs
}

const capacityMs = 2_000

type Kind = (target: Target) => Promise<string>

async function whole(target: Target, model: string): Promise<string> {
  const { status, ending } = await send(target, { body: { model, input: 'hello' } })
  return ending === 'whole' ? String(status) : ending
}

async function streamed(target: Target, model: string, slow = false): Promise<string> {
  await using stream = openStream(target, { body: { model } })
  const { status } = await stream.begun
  let last = ''
  for (let event = await stream.next(); event !== undefined; event = await stream.next()) {
    last = event.type
    if (!slow) continue
    stream.pause()
    await pause(20)
    stream.resume()
  }
  return status === 200 ? last.replace('response.', '') : String(status)
}

/** Goes away after the first words, or before there were any. */
async function leaving(target: Target, model: string): Promise<string> {
  await using stream = openStream(target, { body: { model } })
  if (model === 'late') await pause(100)
  else await stream.next()
  stream.leave()
  return 'left'
}

/** How often in a hundred, and what. */
const kinds: readonly (readonly [number, Kind])[] = [
  [50, target => whole(target, 'sim')],
  [25, target => streamed(target, 'sim')],
  [5, target => streamed(target, 'long')],
  [4, target => streamed(target, 'slow', true)],
  [5, target => leaving(target, 'long')],
  [3, target => leaving(target, 'late')],
  [4, target => streamed(target, 'broken')],
  [4, target => whole(target, 'failing')],
]

interface Clients {
  readonly told: { calls: number; outcomes: Map<string, number> }
  stop(): void
  /** Resolves when everybody has heard the last of it. */
  readonly ended: Promise<void>
}

/** Calls that come at random, whatever becomes of those before. */
function loadOf(targets: readonly Target[], perSecond: number): Clients {
  const chance = randomFrom(20)
  const told = { calls: 0, outcomes: new Map<string, number>() }
  const running = new Set<Promise<void>>()
  let isOver = false
  async function one(): Promise<void> {
    const outcome = await kindAt(chance() * 100)(targets[told.calls % targets.length]!).catch(() => 'broken off')
    told.outcomes.set(outcome, (told.outcomes.get(outcome) ?? 0) + 1)
  }
  const ended = (async () => {
    for (let dueMs = performance.now(); !isOver; dueMs += (-Math.log(1 - chance()) * 1000) / perSecond) {
      await pause(Math.max(0, dueMs - performance.now()))
      if (running.size >= runningMax) continue
      const call = one().finally(() => running.delete(call))
      running.add(call)
      told.calls += 1
    }
    await Promise.all(running)
  })()
  return {
    told,
    stop() {
      isOver = true
    },
    ended,
  }
}

/** Beyond it the client is what is soaked. */
const runningMax = 1_000

function kindAt(lot: number): Kind {
  let before = 0
  for (const [share, kind] of kinds) {
    before += share
    if (lot < before) return kind
  }
  return kinds[0]![1]
}

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
  const text = await (await fetch(`${url}/metrics`)).text()
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
async function leftOf({ url, child, exit }: GatewayProcess, data: string): Promise<Soaked['left']> {
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
