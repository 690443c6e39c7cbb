import { chargesByCall } from '../anomaly/left-books.ts'
import { until } from '../world.ts'
import type { Cluster } from './cluster.ts'
import type { Heard } from './load.ts'

/** What the books and Redis say of calls that clients heard, once all is quiet. All but the last two must be 0. */
export interface Reckoning {
  /** Answers that a client saw whole and that have no row, no charge, or another one than the upstream invoiced. */
  readonly lost: number
  /** Calls with more than one row or charge. */
  readonly doubled: number
  readonly walletsBelowZero: number
  /** Money set aside, and slots taken, though nothing runs. */
  readonly holdsOpen: number
  readonly slotsTaken: number
  /** Sums that do not come out. */
  readonly differences: number
  /** Calls whose gateway was taken for dead, rightly or not. */
  readonly takenForDead: number
  /** How long it took, after the last answer, until nothing was held, taken or owed. Seconds. */
  readonly quietAfter: number
}

/** Waits for quiet at most `withinMs`, and reckons whatever there is by then. */
export async function reckon(cluster: Cluster, heard: readonly Heard[], withinMs: number): Promise<Reckoning> {
  const fromMs = performance.now()
  const isQuiet = async () => (await open(cluster)).every(count => count === 0)
  await until(isQuiet, 'it does not become quiet', withinMs).catch(() => {}) // The figures say what is left.
  const quietAfter = (performance.now() - fromMs) / 1_000
  const [holdsOpen = 0, slotsTaken = 0] = await open(cluster)
  const ids = new Map(heard.flatMap(({ id, responseId, outcome }) => (outcome === 'served' ? [[id!, responseId!] as const] : [])))
  const rows = await cluster.select('select id, ended, cost from calls')
  const charges = await chargesByCall(cluster.books)
  const rowOf = new Map(rows.map(row => [String(row['id']), row]))
  const invoiced = new Map(cluster.sim.invoice.map(line => [line.responseId, line.costNanos]))
  const isBooked = ([id, responseId]: readonly [string, string]) => {
    const cost = invoiced.get(responseId)
    const row = rowOf.get(id)
    return cost !== undefined && row?.['ended'] === 'completed' && row['cost'] === cost && charges.get(id)?.[0] === -cost
  }
  return {
    lost: [...ids].filter(call => !isBooked(call)).length,
    doubled: rows.length - rowOf.size + [...charges.values()].filter(amounts => amounts.length !== 1).length,
    walletsBelowZero: (await cluster.select('select id from wallets where balance < 0 or held < 0')).length,
    holdsOpen,
    slotsTaken,
    differences: (await cluster.differences()).length,
    takenForDead: (await cluster.select(`select id from holds where state in ('expired', 'settled_late')`)).length,
    quietAfter,
  }
}

/** Open holds, taken slots, and charges that wait in journals. */
async function open({ holdsOpen, slotsTaken, nodes }: Cluster): Promise<readonly number[]> {
  const [holds, { users, accounts }, ...owed] = await Promise.all([holdsOpen(), slotsTaken(), ...nodes.map(({ url }) => owedAt(url))])
  return [holds, users + accounts, ...owed]
}

async function owedAt(url: string): Promise<number> {
  const text = await (await fetch(`${url}/metrics`)).text()
  return Number(/^headgate_owed (\d+)/m.exec(text)?.[1])
}
