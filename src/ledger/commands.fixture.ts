import fc from 'fast-check'

/** Everything that anybody can ask of the ledger, for one user with a wallet and a subscription. Amounts are nano-dollars. */
export type Command =
  | { readonly op: 'credit' | 'debit' | 'adjust'; readonly reference: number; readonly amount: bigint }
  | {
      readonly op: 'hold'
      readonly call: number
      readonly payer: Payer
      readonly floor: bigint
      readonly more: bigint
      readonly half: boolean
    }
  | { readonly op: 'extend'; readonly call: number; readonly to: bigint }
  | { readonly op: 'settle'; readonly call: number; readonly cost: bigint }
  /** A settle out of the journal. `payer` counts when nothing else is left of the call. */
  | { readonly op: 'late'; readonly call: number; readonly payer: Payer; readonly cost: bigint }
  | { readonly op: 'release'; readonly call: number }
  /** 0: all of it. */
  | { readonly op: 'refund'; readonly call: number; readonly amount: bigint }
  | { readonly op: 'sleep'; readonly seconds: number }
  | { readonly op: 'renew' }
  | { readonly op: 'expire' }

export type Payer = 'wallet' | 'subscription'

/** Few, so that the same call is asked for many things. */
const call = fc.nat({ max: 5 })
const reference = fc.nat({ max: 20 })
const payer = fc.constantFrom<Payer>('wallet', 'subscription')
const amount = fc.bigInt({ min: 0n, max: 120n })
const floor = fc.bigInt({ min: 0n, max: 30n })
/** Often little, so that often it is within what was set aside. */
const cost = fc.oneof(amount, floor)
const above = fc.bigInt({ min: 1n, max: 120n })
const part = fc.oneof(fc.constant(0n), fc.bigInt({ min: 1n, max: 30n }))
const signed = fc.bigInt({ min: -60n, max: 60n }).filter(size => size !== 0n)
const moments = fc.constantFrom(15, 30, 45)
const hours = fc.nat({ max: 400 }).map(count => count * 3600)

const command: fc.Arbitrary<Command> = fc.oneof(
  { weight: 3, arbitrary: fc.record({ op: fc.constantFrom('credit' as const, 'debit' as const), reference, amount: above }) },
  { weight: 1, arbitrary: fc.record({ op: fc.constant('adjust' as const), reference, amount: signed }) },
  { weight: 6, arbitrary: fc.record({ op: fc.constant('hold' as const), call, payer, floor, more: amount, half: fc.boolean() }) },
  { weight: 2, arbitrary: fc.record({ op: fc.constant('extend' as const), call, to: amount }) },
  { weight: 4, arbitrary: fc.record({ op: fc.constant('settle' as const), call, cost }) },
  { weight: 1, arbitrary: fc.record({ op: fc.constant('late' as const), call, payer, cost: amount }) },
  { weight: 2, arbitrary: fc.record({ op: fc.constant('release' as const), call }) },
  { weight: 2, arbitrary: fc.record({ op: fc.constant('refund' as const), call, amount: part }) },
  { weight: 2, arbitrary: fc.record({ op: fc.constant('sleep' as const), seconds: fc.oneof(moments, hours) }) },
  { weight: 1, arbitrary: fc.record({ op: fc.constant('renew' as const) }) },
  { weight: 2, arbitrary: fc.record({ op: fc.constant('expire' as const) }) },
)

export function commandsUpTo(most: number): fc.Arbitrary<Command[]> {
  return fc.array(command, { minLength: 1, maxLength: most, size: 'max' })
}

/** As the aligned tables of the ledger write it: `hold r1 wallet 10..50`. */
export function lineOf(each: Command): string {
  switch (each.op) {
    case 'credit':
    case 'debit':
    case 'adjust':
      return `${each.op} ${each.reference} ${each.amount}`
    case 'hold':
      return `hold r${each.call} ${each.payer} ${each.floor}..${each.floor + each.more}${each.half ? ' half' : ''}`
    case 'extend':
      return `extend r${each.call} to ${each.to}`
    case 'settle':
      return `settle r${each.call} ${each.cost}`
    case 'late':
      return `late r${each.call} ${each.payer} ${each.cost}`
    case 'release':
      return `release r${each.call}`
    case 'refund':
      return `refund r${each.call} ${each.amount === 0n ? 'all' : each.amount}`
    case 'sleep':
      return `sleep ${each.seconds} s`
    default:
      return each.op
  }
}
