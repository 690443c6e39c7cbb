import type { Owner } from '../../src/directory/owners.ts'
import type { CallEnd } from '../../src/gateway/books.ts'
import type { Gateway } from '../../src/gateway/gateway.ts'
import type { Held } from '../../src/ledger/ledger.ts'
import type { HoldRequest } from '../../src/ledger/steps.ts'
import type { Clock } from '../../src/lib/clock.ts'
import type { CallRow } from '../../src/usage/record.ts'

interface Wallet {
  balance: bigint
  held: bigint
}

interface Hold {
  readonly wallet: Wallet
  readonly amount: bigint
  state: 'held' | 'settled' | 'released'
}

export interface BooksParts {
  readonly clock: Clock
  /** How long the books take to answer this time. Milliseconds. */
  readonly latencyMs: () => number
  readonly say: (what: string) => void
  readonly broke: (law: string) => void
}

/**
 * Books in memory that do what the ledger's SQL does for wallets, and watch over themselves: no call is held or ended twice, nothing is
 * taken that is not there, and what is held is what the open holds say.
 */
export class SimulatedBooks {
  readonly #parts: BooksParts
  readonly #wallets = new Map<string, Wallet>()
  readonly #holds = new Map<string, Hold>()
  readonly rows = new Map<string, CallRow>()
  readonly #owners = new Map<string, Owner>()

  constructor(money: ReadonlyMap<string, bigint>, parts: BooksParts) {
    this.#parts = parts
    for (const [walletId, balance] of money) this.#wallets.set(walletId, { balance, held: 0n })
  }

  /** The gateway's parts that these books are. */
  readonly ports: Pick<Gateway, 'ledger' | 'books' | 'owners' | 'recorder' | 'ownUsage' | 'pending'> = {
    ledger: {
      free: walletId => this.#later(() => ({ ...this.#wallets.get(walletId)! })),
      hold: request => this.#later(() => this.#hold(request)),
      room: unplayed,
      windows: unplayed,
      extend: unplayed,
      release: unplayed,
      credit: unplayed,
      debit: unplayed,
      adjust: unplayed,
      refund: unplayed,
      entriesOf: unplayed,
      renewLease: unplayed,
      endLease: unplayed,
      endOtherLeases: unplayed,
      leases: unplayed,
      expireHolds: unplayed,
      check: unplayed,
    },
    books: {
      end: ending => this.#later(() => this.#end(ending)),
      release: ({ callId }) => void this.#later(() => this.#release(callId)),
      owe: () => Promise.reject(new Error('there is no journal')),
      catchUp: unplayed,
      close: unplayed,
      unwritten: 0,
      owed: 0,
    },
    owners: {
      ownerOf: id => this.#later(() => this.#owners.get(id)),
      ownersOf: ids => this.#later(() => new Map(ids.map(id => [id, this.#owners.get(id)] as const).filter(isKnown))),
      keep: unplayed,
      lengthen: unplayed,
    },
    recorder: { refused: row => this.#write(row), dropped: 0, flush: unplayed, [Symbol.asyncDispose]: unplayed },
    ownUsage: { calls: unplayed, sums: unplayed },
    pending: { takeOver: unplayed, find: unplayed, isSettled: unplayed },
  }

  /** What is always true of the money. */
  check(): void {
    for (const [walletId, wallet] of this.#wallets) {
      const open = [...this.#holds.values()].filter(hold => hold.wallet === wallet && hold.state === 'held')
      const held = open.reduce((sum, { amount }) => sum + amount, 0n)
      if (held !== wallet.held) this.#parts.broke(`wallet ${walletId} says that ${wallet.held} is held; its holds sum to ${held}`)
      if (wallet.held > wallet.balance) this.#parts.broke(`wallet ${walletId} holds ${wallet.held} of a balance of ${wallet.balance}`)
    }
  }

  get openHolds(): readonly string[] {
    return [...this.#holds].filter(([, { state }]) => state === 'held').map(([callId]) => callId)
  }

  #hold({ callId, funds, floor, want, halfOfFree }: HoldRequest): Held {
    if (funds.kind !== 'wallet') throw new Error('nobody in the simulation has a subscription')
    if (this.#holds.has(callId)) this.#parts.broke(`${callId} asked for a second hold`)
    const wallet = this.#wallets.get(funds.walletId)!
    const free = wallet.balance - wallet.held
    if (free < floor) return { refused: 'short' }
    const most = halfOfFree ? larger(floor, free / 2n) : free
    const amount = smaller(want, most)
    wallet.held += amount
    this.#holds.set(callId, { wallet, amount, state: 'held' })
    this.#parts.say(`${callId} holds ${amount}`)
    return { granted: amount }
  }

  #release(callId: string): void {
    const hold = this.#holds.get(callId)
    if (hold?.state !== 'held') return
    hold.state = 'released'
    hold.wallet.held -= hold.amount
    this.#parts.say(`${callId} releases ${hold.amount}`)
  }

  #end({ callId, charge, row, owners = [] }: CallEnd): void {
    const hold = this.#holds.get(callId)
    if (hold?.state !== 'held') return this.#parts.broke(`${callId} is ended, and its hold is ${hold?.state ?? 'missing'}`)
    if (charge === undefined) this.#release(callId)
    else this.#charge(callId, hold, charge.cost)
    if (row !== undefined) this.#write(row)
    for (const { id, ...owner } of owners) if (!this.#owners.has(id)) this.#owners.set(id, { model: null, ...owner })
  }

  #charge(callId: string, hold: Hold, cost: bigint): void {
    const { wallet } = hold
    hold.state = 'settled'
    wallet.held -= hold.amount
    const taken = smaller(cost, wallet.balance - wallet.held)
    wallet.balance -= taken
    if (cost > hold.amount) this.#parts.broke(`${callId} costs ${cost}, and ${hold.amount} was held: its upstream kept the ceiling`)
    this.#parts.say(`${callId} is charged ${taken}`)
  }

  #write(row: CallRow): void {
    if (this.rows.has(row.id)) this.#parts.broke(`${row.id} has two rows`)
    this.rows.set(row.id, row)
    this.#parts.say(`${row.id} ends ${row.ended} ${row.status} ${row.fault ?? ''} ${row.basis} at ${row.accountId ?? 'nobody'}`)
  }

  #later<Result>(work: () => Result): Promise<Result> {
    const { clock, latencyMs } = this.#parts
    return new Promise((resolve, reject) => {
      clock.after(latencyMs(), () => {
        try {
          resolve(work())
        } catch (error) {
          reject(error)
        }
      })
    })
  }
}

/** What no call asks of its books. Should one do so after all, it hears of it. */
function unplayed(): Promise<never> {
  return Promise.reject(new Error('no call in the simulation asks this of the books'))
}

function isKnown(entry: readonly [string, Owner | undefined]): entry is readonly [string, Owner] {
  return entry[1] !== undefined
}

function smaller(one: bigint, other: bigint): bigint {
  return one < other ? one : other
}

function larger(one: bigint, other: bigint): bigint {
  return one > other ? one : other
}
