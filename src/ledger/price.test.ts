import { describe, expect, test } from 'vitest'
import { formatUsd, parseDecimal, parseUsd } from './money.ts'
import { costOf, openPriceBook, type PriceVersion } from './price.ts'

/** USD: input, cached, written, written for 12 h and output for a million tokens; web search and file search for one call. */
const rates = {
  sol: rate('2 0.10 2.50 5 10 0.01 0.0025'),
  terra: rate('1 0.05 1.25 2.50 5 0.01 0.0025'),
  luna: rate('0.10 0.01 0.125 0.25 0.50 - -'),
  nano: rate('0.05 0.005 0.05 0.05 0.40 - -'),
  pro: rate('30 30 30 30 180 0.025 -'),
  long: rate('4 0.20 5 10 15 0.01 0.0025'),
  odd: rate('0.000333 0.000001 0.000001 0.000001 0.000777 - -'),
  free: rate('0 0 0 0 0 - -'),
}

describe('what a usage costs', () => {
  /** Usage (input, cached, written, of these 12 h, output, web, file), the multiplier, and USD to the nano-dollar. */
  const vectors = `
    sol         1000       0      0     0     100   0   0  1         | 0.003       1000 × 2 + 100 × 10 = 3000 millionths of a dollar
    sol      1000000       0      0     0       0   0   0  1         | 2.00
    sol        10000    8000      0     0     500   0   0  1         | 0.0098      2000 × 2 + 8000 × 0.10 + 500 × 10 = 4000 + 800 + 5000
    sol        18014       0  18011     0     250   0   0  1         | 0.0475335   3 × 2 + 18011 × 2.50 + 250 × 10 = 6 + 45027.5 + 2500: a written token is not paid as input too
    sol        18014   18011      0     0     250   0   0  1         | 0.0043071   3 × 2 + 18011 × 0.10 + 2500 = 6 + 1801.1 + 2500
    sol        10000    2000   3000  1000     500   0   0  1         | 0.0252      5000 × 2 + 2000 × 0.10 + 2000 × 2.50 + 1000 × 5 + 5000: the 12 h ones are a part of the written
    sol        10000       0   3000  3000       0   0   0  1         | 0.029
    sol        10000       0   3000  5000       0   0   0  1         | 0.029       an upstream that says more were kept 12 h than written: 7000 × 2 + 3000 × 5
    sol          100      80     40     0      10   0   0  1         | 0.000208    more cached and written than there was: 0 fresh + 80 × 0.10 + 40 × 2.50 + 100
    sol          500       0      0     0     100   3   2  1         | 0.037       500 × 2 + 1000, and 3 × 0.01 + 2 × 0.0025 dollars
    sol            0       0      0     0       0   1   0  1         | 0.01
    sol            0       0      0     0       0   0   1  1         | 0.0025
    sol            0       0      0     0       0   0   0  1         | 0.00
    sol         1234     567      0     0      89   0   0  1.5       | 0.00342105  (667 × 2 + 567 × 0.10 + 890) × 1.5 = 2280.7 × 1.5
    sol         1234     567      0     0      89   0   0  0.75      | 0.001710525
    sol         1234     567      0     0      89   0   0  0         | 0.00
    sol         1234     567      0     0      89   2   0  0.001     | 0.000022281 2280.7 millionths and 0.02 dollars, × 0.001 = 22280.7 nano-dollars, half up
    terra     271999       0      0     0  128000   0   0  1         | 0.911999
    terra          7       3      2     1       5   0   0  1.25      | 0.000038625
    terra     922000  900000      0     0  128000   0   0  1.1       | 0.7777
    luna           1       0      0     0       0   0   0  1         | 0.0000001
    luna           3       0      0     0       7   0   0  0.333     | 0.000001265
    luna       12345    4321   1234   234     567   9   9  1         | 0.00118921
    nano           1       1      0     0       0   0   0  1         | 0.000000005
    nano           1       0      0     0       1   0   0  0.01      | 0.000000005 0.05 + 0.40 = 450 nano-dollars, × 0.01 = 4.5: half goes up
    nano   123456789       0      0     0       0   0   0  1         | 6.17283945
    pro         1000       0      0     0    1000   4   4  1         | 0.31        30000 + 180000 millionths and 4 × 0.025; file search has no price here
    pro            1       0      0     0       1   0   0  0.0000001 | 0.00
    long      300000  200000      0     0    5000   0   0  1         | 0.515
    long      272001       0      0     0       1   0   0  2         | 2.176038    (272001 × 4 + 15) × 2
    odd            1       0      0     0       0   0   0  1         | 0.00        a third of a nano-dollar is nothing
    odd            1       0      0     0       0   0   0  1.5       | 0.00
    odd            2       0      0     0       0   0   0  0.75      | 0.00
    odd            0       0      0     0       1   0   0  1         | 0.000000001
    odd          500       0      0     0     500   0   0  0.9009009 | 0.0000005
    odd            2       1      0     0       1   0   0  1         | 0.000000001
    odd            2       0      0     0       1   0   0  1         | 0.000000001
    free     1000000       0      0     0 1000000   5   5  3         | 0.00        0.666 + 0.777 = 1.443: rounded once, where rounding each part would make 2
  `
  test.each(
    vectors
      .trim()
      .split('\n')
      .map(line => line.trim()),
  )('%s', line => {
    const [left, right] = line.split('|').map(part => part.trim().split(/\s+/))
    const [name, ...numbers] = left!
    const [inputTokens, cachedTokens, cacheWriteTokens, cacheWrite12hTokens, outputTokens, webSearches, fileSearches] = numbers.map(Number)
    const usage = {
      ...{ inputTokens: inputTokens!, cachedTokens: cachedTokens!, cacheWriteTokens: cacheWriteTokens! },
      ...{ cacheWrite12hTokens: cacheWrite12hTokens!, outputTokens: outputTokens!, reasoningTokens: Math.floor(outputTokens! / 2) },
      ...{ webSearches: webSearches!, fileSearches: fileSearches! },
    }
    const cost = costOf(usage, version(rates[name as keyof typeof rates]), parseDecimal(numbers[7]!))
    expect(formatUsd(cost)).toBe(right![0])
  })
})

describe('which line prices a call', () => {
  const book = openPriceBook([
    version({ ...rates.sol, id: 'sol', model: 'sol', aliases: ['sol-2026-09-23', 'sol-latest'] }),
    version({ ...rates.long, id: 'sol-long', model: 'sol', contextOver: 272_000 }),
    version({ ...rates.luna, id: 'sol-flex', model: 'sol', tier: 'flex' }),
    version({ ...rates.pro, id: 'sol-fast', model: 'sol', tier: 'fast' }),
    version({ ...rates.luna, id: 'luna-old', model: 'luna', effectiveToMs: 1_000 }),
    version({ ...rates.nano, id: 'luna-new', model: 'luna', effectiveFromMs: 1_000, aliases: ['luna-b'] }),
    version({ ...rates.pro, id: 'luna-priority', model: 'luna', tier: 'priority', effectiveFromMs: 1_000 }),
    version({ ...rates.pro, id: 'luna-fast-later', model: 'luna', tier: 'fast', effectiveFromMs: 5_000 }),
    version({ ...rates.nano, id: 'twice-a', model: 'twice' }),
    version({ ...rates.luna, id: 'twice-b', model: 'twice' }),
    version({ ...rates.luna, id: 'twice-newer', model: 'twice', effectiveFromMs: 3_000 }),
    version({ ...rates.nano, id: 'sol-latest', model: 'sol-latest', effectiveFromMs: 7_000 }),
    version({ ...rates.nano, id: 'tail', model: 'tail', contextOver: 100 }),
    version({ ...rates.nano, id: 'lone', model: 'lone', tier: 'flex' }),
    version({ ...rates.pro, id: 'sol-own', model: 'sol-2024-05-13', effectiveFromMs: 500, effectiveToMs: 600 }),
    version({ ...rates.pro, id: 'other', model: 'other', aliases: ['sol-2024-02-29', 'other-b'] }),
  ])

  /** Model, tier, tokens of the input, the moment, and the line. */
  const cases = `
    sol             default     0        0     sol              the first band has even an empty input in it
    sol             default     272000   0     sol              a band counts beyond its number, not at it
    sol             default     272001   0     sol-long
    sol-2026-09-23  default     272001   0     sol-long         an alias stands for all lines of its model
    sol-2026-09     default     1        0     none             names are exact
    Sol             default     1        0     none
    sol             flex        1        0     sol-flex
    sol             flex        272001   0     sol-flex         its only band is its first
    sol             priority    1        0     sol-fast         fast and priority are one tier under two names
    sol             fast        1        0     sol-fast
    sol             ultrafast   1        0     sol              a tier that nobody priced costs the default
    luna            default     1        999   luna-old         effective from its first moment until before its last
    luna            default     1        1000  luna-new
    luna            fast        1        999   luna-old
    luna            fast        1        1000  luna-priority
    luna            fast        1        5000  luna-fast-later
    luna            priority    1        5000  luna-priority
    luna-b          default     1        1000  luna-new
    luna-b          default     1        999   none             an alias is stated from when its line is
    twice           default     1        0     twice-b          of two lines for one moment every node takes the same
    twice           default     1        3000  twice-newer      and of an older and a newer one the newer
    sol-latest      default     1        0     sol
    sol-latest      default     1        7000  sol-latest       a name of its own goes before an alias
    tail            default     100      0     none             no band has it
    tail            default     101      0     none             a model has a price when every input of the default tier has one
    lone            flex        1        0     none             so that no answer can turn out to be free
    sol-2026-01-31  default     272001   0     sol-long         a dated snapshot is its model
    sol-2026-01-31  flex        1        0     sol-flex
    sol-2026-01-32  default     1        0     none             on a day of the calendar
    sol-2026-02-29  default     1        0     none
    sol-2028-02-29  default     1        0     sol
    sol-2026-13-01  default     1        0     none
    sol-26-01-31    default     1        0     none
    sol-2026-01-31- default     1        0     none
    sol20260131     default     1        0     none
    sol-mini        default     1        0     none             nothing else about a name means anything
    sol-mini-2026-01-31 default 1        0     none
    -2026-01-31     default     1        0     none
    sol-2026-01-31-2026-01-31 default 1  0     none             only one date
    other-b-2026-01-31 default  1        0     none             of a model's own name
    sol-2024-02-29  default     1        0     other            unless the dated name is somebody's alias
    sol-2024-05-13  default     1        499   sol              or has a line of its own, as long as it has
    sol-2024-05-13  default     1        500   sol-own
    sol-2024-05-13  default     1        600   sol
    lone-2026-01-31 flex        1        0     none
  `
  test.each(
    cases
      .trim()
      .split('\n')
      .map(line => line.trim()),
  )('%s', line => {
    const [model, tier, tokens, atMs, id] = line.split(/\s+/)
    const found = book.find({ model: model!, tier: tier!, contextTokens: Number(tokens), atMs: Number(atMs) })
    expect(found?.id ?? 'none').toBe(id)
  })

  test('the order in which lines were read does not matter', () => {
    const lines = ['a', 'b', 'c'].map(id => version({ ...rates.sol, id, model: id, aliases: ['x'], effectiveFromMs: id === 'b' ? 5 : 1 }))
    for (const order of [lines, lines.toReversed()]) {
      const each = openPriceBook(order)
      expect(each.resolve('x', 5)).toBe('b')
      expect(each.resolve('x', 1)).toBe('c')
    }
  })

  test('the dearest counts the default tier, to which an upstream may lower a call, and the bands below', () => {
    const lowered = openPriceBook([
      version({ ...rates.sol, id: 'default', model: 'm' }),
      version({ ...rates.luna, id: 'default-long', model: 'm', contextOver: 100 }),
      version({ ...rates.luna, id: 'flex', model: 'm', tier: 'flex' }),
    ])
    const dearest = (tier: string, contextTokens: number) =>
      lowered.dearest({ model: 'm', tiers: [tier], contextTokens, atMs: 0 }).map(({ id }) => id)
    expect(dearest('flex', 1)).toEqual(['default'])
    expect(dearest('default', 101)).toEqual(['default'])
  })

  test('a line that is dearer only for what is written for twelve hours is among the dearest', () => {
    const kept = openPriceBook([
      version({ ...rates.pro, id: 'default', model: 'm' }),
      version({ ...rates.sol, id: 'flex', model: 'm', tier: 'flex', cacheWrite12h: parseUsd('99') }),
    ])
    const dearest = kept.dearest({ model: 'm', tiers: ['flex'], contextTokens: 1, atMs: 0 })
    expect(dearest.map(({ id }) => id).toSorted()).toEqual(['default', 'flex'])
  })

  test('the dearest of several tiers is the one that costs more, or each that costs more of something', () => {
    const crossed = openPriceBook([
      version({ ...rates.sol, id: 'default', model: 'm' }),
      version({ ...rates.pro, id: 'fast', model: 'm', tier: 'fast' }),
      version({ ...rates.sol, id: 'dear-input', model: 'm', tier: 'flex', input: parseUsd('40') }),
      version({ ...rates.sol, id: 'same', model: 'm', tier: 'same' }),
    ])
    const dearest = (...tiers: string[]) =>
      crossed
        .dearest({ model: 'm', tiers, contextTokens: 1, atMs: 0 })
        .map(({ id }) => id)
        .toSorted()
    expect(dearest('default')).toEqual(['default'])
    expect(dearest('default', 'fast')).toEqual(['fast'])
    expect(dearest('default', 'flex')).toEqual(['dear-input'])
    expect(dearest('fast', 'flex', 'default')).toEqual(['dear-input', 'fast'])
    expect(dearest('default', 'same')).toHaveLength(1)
    expect(dearest('default', 'unknown')).toEqual(['default'])
    expect(dearest('same')).toHaveLength(1)
    expect(dearest('fast')).toEqual(['fast'])
    expect(crossed.dearest({ model: 'x', tiers: ['default'], contextTokens: 1, atMs: 0 })).toEqual([])
  })
})

function rate(text: string): Partial<PriceVersion> {
  const [input, cached, cacheWrite, cacheWrite12h, output, webSearch, fileSearch] = text
    .split(' ')
    .map(usd => (usd === '-' ? null : parseUsd(usd)))
  return {
    input: input!,
    cached: cached!,
    cacheWrite: cacheWrite!,
    cacheWrite12h: cacheWrite12h!,
    output: output!,
    webSearch: webSearch!,
    fileSearch: fileSearch!,
  }
}

function version(given: Partial<PriceVersion>): PriceVersion {
  return {
    ...{ id: 'p', model: 'm', tier: 'default', contextOver: 0, maxOutput: null, aliases: [], source: null, effectiveFromMs: 0 },
    ...{ effectiveToMs: null, input: 0n, cached: 0n, cacheWrite: 0n, cacheWrite12h: 0n, output: 0n, webSearch: null, fileSearch: null },
    ...given,
  }
}
