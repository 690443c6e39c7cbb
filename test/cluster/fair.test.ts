import { expect, test } from 'vitest'
import { send } from '../client.ts'
import { until } from '../world.ts'
import { type Run, runsOf } from './at-once.ts'
import { type Cluster, onCluster, openCluster, type Person } from './cluster.ts'

/** T10: a loud user does not starve a quiet one, though they come to different gateways. */

const slots = 6
const upstreamMs = 60
/** Each asks again as soon as it is answered, on the next gateway. Both users have more of them than half of the slots, so both always wait. */
const callers = { loud: 80, quiet: 8 }
const counted = process.env['HEADGATE_TEST_FULL'] === undefined ? 300 : 3_000
const ratioMost = 1.2

const patient = {
  ...{ refusalsPerMinute: 0, lineExtra: 100, poolWaitingMax: 100, lineTimeoutMs: 120_000, booksTimeoutMs: 120_000 },
  redisTimeoutMs: 20_000,
}

onCluster('T10: one user with ten times another’s load', () => {
  test('is served no more than the other while both wait', async () => {
    await using cluster = await openCluster({ accounts: [slots], settings: patient })
    cluster.sim.script({}, { headersAfterMs: upstreamMs })
    await using load = await offerLoad(cluster)
    await until(async () => (await waiting(cluster)) > callers.loud, 'they do not come to wait', 50_000)
    const began = cluster.sim.attempts.length + slots
    await until(() => cluster.sim.attempts.length >= began + counted, 'nobody is served', 50_000)
    const runs = runsOf(cluster.sim).slice(began, began + counted)
    await load.stop()
    expect(load.statuses).toEqual(new Set([200]))

    const served = { loud: ofUser(runs, 'loud').length, quiet: ofUser(runs, 'quiet').length }
    const handOvers = handOversMs(runsOf(cluster.sim).slice(0, began + counted), counted).sort((one, other) => one - other)
    const quantile = (share: number) => handOvers[Math.floor(share * (handOvers.length - 1))]!.toFixed(1)
    console.log(
      `callers ${callers.loud} : ${callers.quiet} on ${slots} slots, served ${served.loud} : ${served.quiet};`,
      `from an answer's end at the upstream to the next call there, ms: p50 ${quantile(0.5)}, p99 ${quantile(0.99)}`,
    )
    expect(served.loud / served.quiet).toBeLessThanOrEqual(ratioMost)
    expect(served.quiet / served.loud).toBeLessThanOrEqual(ratioMost)
    await until(async () => Object.values(await cluster.slotsTaken()).every(count => count === 0), 'slots are still taken')
    expect(await cluster.differences()).toEqual([])
  }, 120_000)
})

interface Load extends AsyncDisposable {
  /** Of all answers so far. */
  readonly statuses: ReadonlySet<number>
  /** No new calls. Resolves when the last has ended. */
  stop(): Promise<void>
}

async function offerLoad(cluster: Cluster): Promise<Load> {
  let isOver = false
  const statuses = new Set<number>()
  const callOn = async ({ key }: Person, user: string, first: number) => {
    for (let number = first; !isOver; number += 1) {
      const { url } = cluster.nodes[number % cluster.nodes.length]!
      const body = { model: 'sim', input: 'hello', metadata: { user } }
      statuses.add((await send({ url, key }, { body })).status)
    }
  }
  const running: Promise<void>[] = []
  for (const [user, count] of Object.entries(callers)) {
    const person = await cluster.addPerson({ concurrency: 100 })
    running.push(...Array.from({ length: count }, (_, first) => callOn(person, user, first)))
  }
  const stop = async () => {
    isOver = true
    await Promise.all(running)
  }
  return { statuses, stop, [Symbol.asyncDispose]: stop }
}

/** Calls in the pool's line, on all gateways. */
async function waiting({ nodes }: Cluster): Promise<number> {
  const counts = nodes.map(async ({ url }) => {
    const text = await (await fetch(`${url}/metrics`)).text()
    return Number(/^headgate_account_line (\d+)/m.exec(text)?.[1])
  })
  return (await Promise.all(counts)).reduce((sum, count) => sum + count, 0)
}

function ofUser(runs: readonly Run[], user: string): readonly Run[] {
  return runs.filter(({ who }) => who['user'] === user)
}

/** While somebody always waits, the slot that the nth answer frees is that of the nth call after the first ones, who found theirs free. Of the last so many. */
function handOversMs(runs: readonly Run[], last: number): number[] {
  const ends = runs.map(({ untilMs }) => untilMs).sort((one, other) => one - other)
  const begins = runs.map(({ fromMs }) => fromMs).sort((one, other) => one - other)
  return begins.map((beginMs, index) => beginMs - (ends[index - slots] ?? beginMs)).slice(-last)
}
