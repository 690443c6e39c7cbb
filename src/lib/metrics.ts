import { collectDefaultMetrics, Gauge, Registry } from 'prom-client'
import { Count, Spread, Tally } from './tally.ts'

/** What is read at the moment of the scrape. */
export interface Gauges {
  readonly sockets: () => number
  /** Calls that came, and wait until fewer are in hand. */
  readonly callsUnread: () => number
  readonly callsRunning: () => number
  readonly callsWaiting: () => number
  readonly accountsTaken: () => number
  readonly accountsWaiting: () => number
  readonly drains: () => number
  /** Calls whose response goes on upstream, to be settled when it is over. */
  readonly background: () => number
  readonly bodyBytes: () => number
  /** Charges that the books have not taken yet: in the journal, and in memory because the journal refused too. */
  readonly owed: () => number
  readonly unwritten: () => number
  readonly unposted: () => number
  /** 1 while this gateway cannot ask the others, and keeps to its share of every limit. */
  readonly alone: () => number
  /** Gateways that share the limits, this one too. */
  readonly nodes: () => number
}

const seconds = [0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120, 300, 600]

/** Counters of this process, in Prometheus' text format at `/metrics`. Names end in their unit. */
export function openMetrics() {
  const registry = new Registry()
  collectDefaultMetrics({ register: registry })
  const spread = (name: string, help: string) => new Spread({ name, help, bounds: seconds, registry })
  return {
    registry,
    watch: (gauges: Gauges) => watch(gauges, registry),
    calls: new Tally({
      name: 'headgate_calls_total',
      help: 'Calls of known keys, by how they ended.',
      labelNames: ['ended', 'fault'],
      registry,
    }),
    unauthenticated: new Tally({
      name: 'headgate_unauthenticated_total',
      help: 'Requests without a known key. They are counted, never recorded.',
      labelNames: ['fault'],
      registry,
    }),
    braked: new Count({
      name: 'headgate_braked_total',
      help: 'Calls refused unread because the client of their key repeats what is refused. One in a minute and key has a row.',
      registry,
    }),
    attempts: new Tally({
      name: 'headgate_attempts_total',
      help: 'Attempts, by account and how they went.',
      labelNames: ['account', 'ended'],
      registry,
    }),
    tokens: new Tally({ name: 'headgate_tokens_total', help: 'Tokens billed, by kind.', labelNames: ['kind'], registry }),
    costUsd: new Count({ name: 'headgate_cost_usd_total', help: 'Cost of calls, for looking at; the books are exact.', registry }),
    uncollectedUsd: new Tally({
      name: 'headgate_uncollected_usd_total',
      help: 'Cost beyond what a wallet could pay, by why. Borne by the operator; alarm on any increase.',
      labelNames: ['why'],
      registry,
    }),
    unbilledInputTokens: new Count({
      name: 'headgate_unbilled_input_tokens_total',
      help: 'Estimated input of calls whose client left, and which were cut, before an answer began. Charged to nobody.',
      registry,
    }),
    tierUnpriced: new Tally({
      name: 'headgate_tier_unpriced_total',
      help: 'Calls priced as the default tier because the book has no price for the tier that served them. Alarm on any increase: it may be a dearer one.',
      labelNames: ['model'],
      registry,
    }),
    ...cutting(registry),
    ...agreeing(registry),
    firstTokenSeconds: spread('headgate_first_token_seconds', 'From the request to the first event.'),
    durationSeconds: spread('headgate_duration_seconds', 'From the request to its end.'),
    intakeSeconds: spread(
      'headgate_intake_seconds',
      'Time that calls waited unread because as many were in hand as may be. Others did not.',
    ),
    lineSeconds: spread('headgate_line_seconds', 'Time spent in lines.'),
  }
}

export type Metrics = ReturnType<typeof openMetrics>

/** What becomes of rows that are older than what is kept. */
function cutting(registry: Registry) {
  return {
    rowsCut: new Tally({
      name: 'headgate_rows_cut_total',
      help: 'Rows of old calls that were deleted one by one, by table; whole months that a server drops are not counted.',
      labelNames: ['table'],
      registry,
    }),
    monthsCut: new Count({ name: 'headgate_months_cut_total', help: 'Months of old calls that were dropped whole.', registry }),
    cutsFailed: new Count({
      name: 'headgate_cuts_failed_total',
      help: 'Runs that could not make the months to come or cut old rows. The next one tries again; alarm when it goes on growing.',
      registry,
    }),
  }
}

/** How this gateway gets on with the others. */
function agreeing(registry: Registry) {
  return {
    coordinator: new Gauge({
      name: 'headgate_coordinator',
      help: 'Where slots, lines and rates are decided: memory, or redis. Always 1.',
      labelNames: ['kind'],
      registers: [registry],
    }),
    slotsFreed: new Count({
      name: 'headgate_dead_slots_freed_total',
      help: 'Slots of gateways that died, freed by this one.',
      registry,
    }),
    slotsOver: new Count({
      name: 'headgate_slots_over_limit_total',
      help: 'Slots over a limit, of calls that ran on while this gateway could not ask the others.',
      registry,
    }),
  }
}

function watch(gauges: Gauges, registry: Registry): void {
  const gauge = (name: string, help: string, read: () => number) =>
    new Gauge({
      name,
      help,
      registers: [registry],
      collect() {
        this.set(read())
      },
    })
  gauge('headgate_sockets', 'WebSockets of clients that are open.', gauges.sockets)
  gauge('headgate_calls_unread', 'Calls that wait unread because as many are in hand as may be.', gauges.callsUnread)
  gauge('headgate_calls_running', 'Users’ slots taken.', gauges.callsRunning)
  gauge('headgate_calls_waiting', 'Calls in their user’s line.', gauges.callsWaiting)
  gauge('headgate_account_slots_taken', 'Accounts’ slots taken.', gauges.accountsTaken)
  gauge('headgate_account_line', 'Calls in a pool’s line.', gauges.accountsWaiting)
  gauge('headgate_drains', 'Answers read to their end after their client left.', gauges.drains)
  gauge('headgate_background_pending', 'Responses in the background that are not settled yet.', gauges.background)
  gauge('headgate_body_bytes', 'Bytes of request bodies in memory.', gauges.bodyBytes)
  gauge('headgate_owed', 'Charges in the journal that the books have not taken yet.', gauges.owed)
  gauge('headgate_alone', 'Redis is silent, and this gateway keeps to its share of every limit. Alarm on any.', gauges.alone)
  gauge('headgate_nodes', 'Gateways that share the limits, this one too.', gauges.nodes)
  gauge('headgate_unwritten', 'Charges in memory only. Alarm on any.', gauges.unwritten)
  gauge('headgate_unposted', 'Calls that ended and are on the disk, in the daybook, but not in the books yet.', gauges.unposted)
}
