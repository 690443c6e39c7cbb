import { expect, test } from 'vitest'
import { onCluster, openCluster, type Person } from './cluster.ts'
import { type Heard, offer } from './load.ts'
import { reckon } from './reckon.ts'

/** T19: each gateway in turn is stopped by SIGTERM and started again, under load, and no client notices. */

const rounds = process.env['HEADGATE_TEST_FULL'] ? 5 : 1
const offered = { perSecond: 80, streamEvery: 8 }
/** Streams of three seconds. */
const answers = { deltas: 30, betweenEventsMs: 100 }

onCluster('a rolling restart', () => {
  test('fails no call, and every stream ends whole', { timeout: 60_000 + rounds * 90_000 }, async () => {
    await using cluster = await openCluster()
    cluster.sim.script({}, answers)
    const people: Person[] = []
    for (let person = 0; person < 4; person += 1) people.push(await cluster.addPerson({ concurrency: 0 }))
    await using load = offer(cluster.url, people, offered)
    await load.during(2)
    const exits: (number | null)[] = []
    for (let round = 0; round < rounds; round += 1) {
      for (const node of cluster.nodes) {
        exits.push(await node.stop())
        await node.start()
        await load.during(1)
      }
    }
    await load.stop()
    const books = await reckon(cluster, load.heard, 20_000)
    console.table([row(load.heard, 'json', exits.length), row(load.heard, 'stream', exits.length)])
    console.log(`the books: ${JSON.stringify(books)}`)
    expect(exits.filter(code => code !== 0)).toEqual([])
    expect(
      load.heard.filter(({ outcome }) => outcome !== 'served'),
      cluster.nginx.complaints(),
    ).toEqual([])
    expect(books).toMatchObject({ lost: 0, doubled: 0, holdsOpen: 0, slotsTaken: 0, differences: 0, takenForDead: 0 })
  })
})

function row(heard: readonly Heard[], kind: Heard['kind'], restarts: number): object {
  const calls = heard.filter(call => call.kind === kind)
  const served = calls.filter(({ outcome }) => outcome === 'served')
  const slowest = Math.max(0, ...served.map(({ startedMs, endedMs }) => endedMs - startedMs))
  return {
    restarts,
    kind,
    calls: calls.length,
    served: served.length,
    failed: calls.length - served.length,
    'slowest s': (slowest / 1_000).toFixed(1),
  }
}
