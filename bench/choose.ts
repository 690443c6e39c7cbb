import { cpus, release } from 'node:os'
import type { Coordinator } from '../src/coordination/coordinator.ts'
import { inMemory } from '../src/coordination/memory.ts'
import { slotOf } from '../src/coordination/slots.fixture.ts'
import { type Account, defaultCapabilities } from '../src/directory/entities.ts'
import { systemClock } from '../src/lib/clock.ts'
import { type Candidate, readinessOf } from '../src/upstreams/account.ts'
import { Choosable, type Server } from '../src/upstreams/choosable.ts'
import { afterAnswer } from '../src/upstreams/rest.ts'
import { leastLoaded, leastOf } from '../src/upstreams/select.ts'
import { median, shown, tableOf } from './figures.ts'

/**
 * What it costs to choose an account, and to keep up what is chosen from: for each call a choice, a slot taken, a condition
 * changed, the slot given back. Once by the index, and once by looking at every account, in turns.
 */
const sizes = [1, 10, 100, 1_000]
const rounds = 7
const callsAtOnce = 50
const callsPerRound = 4_000

/** One of so many is resting, and one of so many out behind its circuit: they cannot be chosen. */
const restingEach = 10
const outEach = 7

type Choose = () => Candidate | undefined

const none: ReadonlySet<string> = new Set()

function newAccount(number: number): Account {
  return {
    ...{ id: `account-${number}`, name: `account ${number}`, provider: 'openai', baseUrl: 'https://192.0.2.1/v1', apiKey: 'key' },
    ...{ concurrency: 100, priority: 50, weight: 1, groupIds: [], organization: null, models: {}, capabilities: defaultCapabilities },
    ...{ proxy: null, allowPrivateAddress: false, defaultTier: 'default', requestsPerMinute: null, tokensPerMinute: null },
    ...{ disabled: false, createdAtMs: 0 },
  }
}

async function newGround(count: number): Promise<{ lines: Coordinator; byIndex: Choose; byLooking: Choose }> {
  const lines = inMemory(systemClock)
  const servers: Server[] = Array.from({ length: count }, (_, number) => ({ account: newAccount(number), model: 'sim' }))
  const hourAheadMs = Date.now() + 3_600_000
  for (const [number, { account }] of servers.entries()) {
    if (number % restingEach === restingEach - 1) await lines.change(account.id, one => ({ ...one, restingUntilMs: hourAheadMs }))
    if (number % outEach === outEach - 1) await lines.change(account.id, one => ({ ...one, circuitSinceMs: 1, probeAtMs: hourAheadMs }))
  }
  const choosable = new Choosable(servers, new Map())
  return {
    lines,
    byIndex: () => leastOf(choosable.at(lines.known(), Date.now()).draw(Math.random, none)),
    byLooking() {
      const nowMs = Date.now()
      const known = lines.known()
      const all = servers.map(server => ({ ...server, condition: known.of(server.account.id) }))
      return leastLoaded(
        all.filter(one => ['free', 'probe'].includes(readinessOf(one, nowMs))),
        Math.random,
      )
    },
  }
}

/** CPU microseconds of a call. */
async function measure(lines: Coordinator, choose: Choose): Promise<number> {
  const before = process.threadCpuUsage()
  async function lane(): Promise<void> {
    for (let calls = 0; calls < callsPerRound / callsAtOnce; calls += 1) {
      const chosen = choose()
      if (chosen === undefined) throw new Error('nobody could be chosen')
      const slot = slotOf(await lines.take({ accountId: chosen.account.id, slots: chosen.account.concurrency }))
      await lines.change(chosen.account.id, condition => afterAnswer(condition, Date.now()))
      await slot[Symbol.asyncDispose]()
    }
  }
  await Promise.all(Array.from({ length: callsAtOnce }, lane))
  const { user, system } = process.threadCpuUsage(before)
  return (user + system) / callsPerRound
}

const grounds = await Promise.all(sizes.map(newGround))
const figures = sizes.map(() => ({ byIndex: [] as number[], byLooking: [] as number[] }))
for (let round = -1; round < rounds; round += 1) {
  for (const [index, { lines, byIndex, byLooking }] of grounds.entries()) {
    const pair = { byIndex: await measure(lines, byIndex), byLooking: await measure(lines, byLooking) }
    if (round < 0) continue // To warm up.
    figures[index]!.byIndex.push(pair.byIndex)
    figures[index]!.byLooking.push(pair.byLooking)
  }
}
console.log(`${cpus().length} cores of ${cpus()[0]?.model}, Linux ${release()}, Node ${process.version}`)
console.log(`CPU µs a call for choosing, taking, changing, giving back; medians of ${rounds} rounds of ${callsPerRound} calls, in turns\n`)
console.log(
  tableOf(
    ['accounts', 'by the index', 'by looking at all'],
    sizes.map((size, index) => [String(size), shown(median(figures[index]!.byIndex)), shown(median(figures[index]!.byLooking))]),
  ),
)
