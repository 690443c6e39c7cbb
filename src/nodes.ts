import { hostname } from 'node:os'
import type { NodeNow } from './admin/ports.ts'
import type { Gateway } from './gateway/gateway.ts'
import { version } from './version.ts'

/** Calls being handled, and of these the ones in their user's line. */
export interface CallsNow {
  readonly running: () => number
  readonly waiting: () => number
}

/** What a gateway writes beside its lease, so that the others can show it. */
type About = Omit<NodeNow, 'id' | 'uptimeMs' | 'heardMsAgo'>

/** The gateways that share these books, by their leases. */
export interface Nodes {
  /** How this one fares, as JSON. */
  about(): string
  /** All that live, this one first and as it fares now, the others as they were heard last. While the books are away, this one. */
  all(): Promise<readonly NodeNow[]>
}

export function openNodes(
  { clock, drain, ledger, leaseId }: Pick<Gateway, 'clock' | 'drain' | 'ledger' | 'leaseId'>,
  calls: CallsNow,
): Nodes {
  const startedMs = clock.elapsedMs()
  const aboutThis = (): About => ({
    host: hostname(),
    version,
    callsInFlight: calls.running(),
    callsWaiting: calls.waiting(),
    drains: drain.count,
  })
  return {
    about: () => JSON.stringify(aboutThis()),
    async all() {
      const leases = await ledger.leases().catch(() => []) // The books are away: that is told elsewhere, and no reason to tell nothing.
      const others = leases.filter(({ id }) => id !== leaseId)
      return [
        { id: leaseId, ...aboutThis(), uptimeMs: Math.round(clock.elapsedMs() - startedMs), heardMsAgo: 0 },
        ...others.map(({ id, ageMs, silentMs, about }) => ({ id, ...aboutOf(about), uptimeMs: ageMs, heardMsAgo: silentMs })),
      ]
    },
  }
}

/** Another gateway may be of another version, which tells less, or more. */
function aboutOf(text: string): About {
  const { host = '', version: its = 'unknown', callsInFlight = 0, callsWaiting = 0, drains = 0 } = JSON.parse(text) as Partial<About>
  return { host, version: its, callsInFlight, callsWaiting, drains }
}
