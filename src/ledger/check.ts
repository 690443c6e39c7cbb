import { type Database, type Statement, statement } from '../storage/database.ts'
import { isKept, isWindowKept } from './kept.ts'
import { formatUsd } from './money.ts'
import { windowLengthMs } from './subscription.ts'

/** Two places in the books that should say the same amount and do not. Amounts are nano-dollars. */
export interface Difference {
  readonly subject: 'wallet' | 'hold' | 'window' | 'entry' | 'call'
  /** Of the wallet, the call, or the subscription with the window's name and start. */
  readonly id: string
  readonly recorded: bigint
  readonly recomputed: bigint
  /** The whole of it, for a person. */
  readonly says: string
}

/** Of one kind, at most this many are told: the first of them explain the rest. */
export const differencesMax = 100

/**
 * Reckons every sum in the books anew. Empty when all is well, also while calls are running: each rule is one statement,
 * which sees one moment, and every transaction keeps all rules. Of calls before the mark up to where rows were cut, only balances
 * and the holds that are still there are reckoned.
 */
export async function checkBooks(database: Pick<Database, 'report'>): Promise<readonly Difference[]> {
  const found: Difference[] = []
  for (const { subject, recordedIs, recomputedIs, statement } of rules) {
    for (const row of await database.report(statement, [differencesMax])) {
      const [id, recorded, recomputed] = [row.id as string, row.recorded as bigint, row.recomputed as bigint]
      const apart = recorded > recomputed ? recorded - recomputed : recomputed - recorded
      const says = `${subject} ${id}: ${recordedIs} ${formatUsd(recorded)}, ${recomputedIs} ${formatUsd(recomputed)}, ${formatUsd(apart)} apart`
      found.push({ subject, id, recorded, recomputed, says })
    }
  }
  return found
}

interface Rule {
  readonly subject: Difference['subject']
  readonly recordedIs: string
  readonly recomputedIs: string
  readonly statement: Statement
}

/** Keeps those whose two amounts differ. A sum is cast, because engines widen what they add up. */
function differing(select: string): Statement {
  return statement(
    `select id, cast(recorded as bigint) as recorded, cast(recomputed as bigint) as recomputed from (${select}) as both_sides
     where recorded <> recomputed order by id limit $1`,
  )
}

const windowLengths = Object.entries(windowLengthMs)
  .map(([kind, ms]) => `select '${kind}' as kind, cast(${ms} as bigint) as length`)
  .join(' union all ')

/** Every hold stands in the three windows in which its call began. */
const windowSums = `select holds.subscription_id as id, lengths.kind as kind,
    starts_at + ((began_at - starts_at) / length) * length as starts_at, sum(settled - refunded) as used,
    sum(case when state = 'held' then amount else 0 end) as held
  from holds join subscriptions on subscriptions.id = holds.subscription_id cross join (${windowLengths}) as lengths
  group by 1, 2, 3`

/** Both sides one below the other and added up, because a join in both directions compares each window with every other. */
function differingWindows(column: 'used' | 'held'): Statement {
  return differing(`select id || ' ' || kind || ' ' || cast(starts_at as text) as id, sum(recorded) as recorded, sum(recomputed) as recomputed
    from (select subscription_id as id, kind, starts_at, ${column} as recorded, 0 as recomputed from windows
      union all select id, kind, starts_at, 0, ${column} from (${windowSums}) as sums) as sides
    where ${isWindowKept('starts_at')} group by 1`)
}

const rules: readonly Rule[] = [
  {
    subject: 'wallet',
    recordedIs: 'its balance is',
    recomputedIs: 'its entries add up to',
    statement: differing(`select wallets.id as id, balance as recorded, coalesce(sum(amount), 0) as recomputed
      from wallets left join entries on wallet_id = wallets.id group by wallets.id, balance`),
  },
  {
    subject: 'wallet',
    recordedIs: 'its held amount is',
    recomputedIs: 'its open holds add up to',
    statement: differing(`select wallets.id as id, held as recorded, coalesce(open.held_open, 0) as recomputed
      from wallets left join (select wallet_id, sum(amount) as held_open from holds where state = 'held' group by wallet_id) as open
        on open.wallet_id = wallets.id`),
  },
  {
    subject: 'hold',
    recordedIs: 'it was settled for',
    recomputedIs: 'its entry charged',
    statement: differing(`select holds.id as id, settled as recorded, -coalesce(entries.amount, 0) as recomputed
      from holds left join entries on kind = 'charge' and reference = holds.id where holds.wallet_id is not null`),
  },
  {
    subject: 'hold',
    recordedIs: 'its charge is',
    recomputedIs: 'though by its state it took',
    statement: differing(`select id, settled as recorded, 0 as recomputed from holds where state not in ('settled', 'settled_late')`),
  },
  {
    subject: 'hold',
    recordedIs: 'of its charge was given back',
    recomputedIs: 'though the entry of that refund says',
    statement: differing(`select holds.id as id, refunded as recorded, coalesce(entries.amount, 0) as recomputed
      from holds left join entries on kind = 'refund' and reference = holds.id where holds.wallet_id is not null`),
  },
  {
    subject: 'hold',
    recordedIs: 'of its charge was given back',
    recomputedIs: 'though it was charged only',
    statement: differing(`select id, refunded as recorded, settled as recomputed from holds where refunded > settled`),
  },
  {
    subject: 'entry',
    recordedIs: 'it gave back',
    recomputedIs: 'but of the holds of that call was given back',
    statement: differing(`select entries.id as id, entries.amount as recorded, 0 as recomputed
      from entries left join holds on holds.id = reference and holds.wallet_id = entries.wallet_id
      where kind = 'refund' and holds.id is null and ${isKept('reference')}`),
  },
  {
    subject: 'entry',
    recordedIs: 'it charged',
    recomputedIs: 'but the holds of that call took',
    statement: differing(`select entries.id as id, -entries.amount as recorded, 0 as recomputed
      from entries left join holds on holds.id = reference and holds.wallet_id = entries.wallet_id
      where kind = 'charge' and holds.id is null and ${isKept('reference')}`),
  },
  {
    subject: 'window',
    recordedIs: 'used is',
    recomputedIs: 'the charges of its calls, without what was given back, add up to',
    statement: differingWindows('used'),
  },
  {
    subject: 'window',
    recordedIs: 'held is',
    recomputedIs: 'the open holds of its calls add up to',
    statement: differingWindows('held'),
  },
  {
    subject: 'call',
    recordedIs: 'its row says that was collected',
    recomputedIs: 'its hold took',
    statement: differing(`select holds.id as id, coalesce(cost - uncollected, 0) as recorded, settled as recomputed
      from holds left join calls on calls.id = holds.id
      where state in ('settled', 'settled_late') and ${isKept('holds.id')}`),
  },
  {
    subject: 'call',
    recordedIs: 'its row says that was collected',
    recomputedIs: 'though no hold of it was settled, which took',
    statement: differing(`select calls.id as id, cost - uncollected as recorded, 0 as recomputed
      from calls left join holds on holds.id = calls.id and state in ('settled', 'settled_late')
      where holds.id is null and cost <> 0 and ${isKept('calls.id')}`),
  },
]
