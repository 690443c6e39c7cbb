import { describe, expect, test } from 'vitest'
import { parseDecimal, parseUsd } from './money.ts'
import { costOf, openPriceBook, type PriceVersion } from './price.ts'

/**
 * T7: the same usage costs the same everywhere. What is served, when it began, what it used, the group's multiplier, and the cost in
 * nano-dollars, to the last one. The amounts were worked out apart from this program, with fractions; where sums stand beside
 * them, by hand. Any change of one of them changes what somebody pays.
 */

/** Model, tier, band, from and to in milliseconds; USD: fresh, cached, written, for 12 hours, output; a web search, a file search. */
const book = `
  sol   default    0       0     -     | 2           0.10         2.50         5            10           0.01 0.0025
  sol   default    272000  0     -     | 4           0.20         5            10           15           0.01 0.0025
  sol   flex       0       0     -     | 1           0.05         1.25         2.50         5            0.01 0.0025
  sol   flex       272000  0     -     | 2           0.10         2.50         5            7.50         0.01 0.0025
  sol   fast       0       0     -     | 4           0.20         5            10           20           0.01 0.0025
  sol   ultrafast  0       0     1000  | 6           0.30         7.50         15           30           0.01 0.0025
  sol   ultrafast  0       1000  -     | 12          0.60         15           30           60           0.01 0.0025
  mini  default    0       0     -     | 0.75        0.075        0.75         0.75         4.50         -    -
  mini  priority   0       0     -     | 1.50        0.15         1.50         1.50         9            -    -
  nano  default    0       0     -     | 0.05        0.005        0.05         0.05         0.40         -    -
  old   default    0       0     5000  | 1.25        0.125        1.25         1.25         10           0.025 -
  old   default    0       5000  -     | 1           0.10         1            1            8            -    0.004
  old   batch      0       0     3000  | 0.625       0.0625       0.625        0.625        5            0.025 -
  tiny  default    0       0     -     | 0.000000001 0.000000001  0.000000003  0.000000007  0.000000001  -    0.000000001
`

/** Model, tier, began | input, of it cached, written, of these for 12 hours, output, web and file searches | multiplier | nano-dollars. */
const vectors = `
    sol            default   0    |       1000       0      0     0     100  0  0 | 1                      |        3000000   1000 × 2,000 + 100 × 10,000 nano-dollars = 2,000,000 + 1,000,000
    sol            default   0    |      18014       0  18011     0     250  0  0 | 1                      |       47533500   3 × 2,000 + 18,011 × 2,500 + 250 × 10,000 = 6,000 + 45,027,500 + 2,500,000
    sol            default   0    |      18014   18011      0     0     250  0  0 | 1                      |        4307100   3 × 2,000 + 18,011 × 100 + 2,500,000 = 6,000 + 1,801,100 + 2,500,000
    sol            default   0    |      10000    2000   3000  1000     500  0  0 | 1                      |       25200000   5,000 × 2,000 + 2,000 × 100 + 2,000 × 2,500 + 1,000 × 5,000 + 500 × 10,000 = 10 + 0.2 + 5 + 5 + 5 million
    sol            default   0    |      10000       0   3000  3000       0  0  0 | 1                      |       29000000   all of what was written is for 12 h: 7,000 × 2,000 + 3,000 × 5,000
    sol            default   0    |      10000       0   3000  9999       0  0  0 | 1                      |       29000000   never more for 12 h than were written
    sol            default   0    |        100      80     40     0      10  0  0 | 1                      |         208000   more cached and written than there was: 0 fresh + 80 × 100 + 40 × 2,500 + 10 × 10,000
    sol            default   0    |        100     100      0     0       0  0  0 | 1                      |          10000
    sol            default   0    |        100     150      0     0       0  0  0 | 1                      |          15000   150 × 100, and no fresh ones below zero
    sol            default   0    |          0       0      0     0       0  0  0 | 1                      |              0
    sol            default   0    |          0       0      0     0       0  3  2 | 1                      |       35000000   3 × 10,000,000 + 2 × 2,500,000
    sol            default   0    |          0       0      0     0       0  3  2 | 0.5                    |       17500000   the multiplier is of tools too
    sol            default   0    |          1       0      0     0       0  0  0 | 1                      |           2000
    sol            default   0    |          0       1      0     0       0  0  0 | 1                      |            100
    sol            default   0    |          0       0      1     0       0  0  0 | 1                      |           2500
    sol            default   0    |          0       0      1     1       0  0  0 | 1                      |           5000
    sol            default   0    |          0       0      0     0       1  0  0 | 1                      |          10000
    sol            default   0    |     272000       0      0     0       0  0  0 | 1                      |      544000000   272,000 × 2,000: the first band's last token
    sol            default   0    |     272001       0      0     0       0  0  0 | 1                      |     1088004000   272,001 × 4,000: one more, and all of them cost the other rate
    sol            default   0    |     272000       0      0     0  128000  0  0 | 1                      |     1824000000
    sol            default   0    |     272001       0      0     0  128000  0  0 | 1                      |     3008004000
    sol            default   0    |     272001  272000      0     0       1  0  0 | 1                      |       54419000   cached tokens count for the band: 1 × 4,000 + 272,000 × 200 + 1 × 15,000
    sol            default   0    |     272000  272000      0     0       0  0  0 | 1                      |       27200000
    sol            default   0    |     300000  100000  50000 20000    4000  1  1 | 1                      |     1042500000
    sol            default   0    |     922000  900000  22000     0  128000  0  0 | 1                      |     2210000000
    sol            flex      0    |     272000       0      0     0    1000  0  0 | 1                      |      277000000
    sol            flex      0    |     272001       0      0     0    1000  0  0 | 1                      |      551502000
    sol            flex      0    |      10000    2000   3000  1000     500  0  0 | 1                      |       12600000   half of the default tier's 25,200,000
    sol            flex      0    |          0       0      0     0       0  1  1 | 1                      |       12500000   a tool costs the same in every tier
    sol            fast      0    |      10000    2000   3000  1000     500  0  0 | 1                      |       50400000   twice 25,200,000
    sol            priority  0    |      10000    2000   3000  1000     500  0  0 | 1                      |       50400000   the same tier under its other name
    sol            priority  0    |     272001       0      0     0       1  0  0 | 1                      |     1088024000   it has one band only: 272,001 × 4,000 + 20,000
    sol            batch     0    |      10000    2000   3000  1000     500  0  0 | 1                      |       25200000   not in the book: the default tier
    sol            scale     0    |     272001       0      0     0       0  0  0 | 1                      |     1088004000   and its band
    sol            ultrafast 999  |       1000       0      0     0     100  0  0 | 1                      |        9000000   the last millisecond of the lower rate: 6,000,000 + 3,000,000
    sol            ultrafast 1000 |       1000       0      0     0     100  0  0 | 1                      |       18000000   and the first of the higher one
    sol-2026-09-23 default   0    |       1000       0      0     0     100  0  0 | 1                      |        3000000   a dated snapshot
    sol-latest     flex      0    |       1000       0      0     0     100  0  0 | 1                      |        1500000   an alias
    mini           default   0    |       1000     400      0     0     100  0  0 | 1                      |         930000   600 × 750 + 400 × 75 + 100 × 4,500
    mini           fast      0    |       1000     400      0     0     100  0  0 | 1                      |        1860000
    mini           priority  0    |       1000     400      0     0     100  0  0 | 1                      |        1860000
    mini           default   0    |       1000       0    500   500     100  0  0 | 1                      |        1200000   what is written costs what fresh ones do
    mini           default   0    |       1000       0      0     0     100  5  5 | 1                      |        1200000   tools without a price are free
    mini           default   0    |       1234     567     89    12     345  0  0 | 1                      |        2095275
    mini           default   0    |       1234     567     89    12     345  0  0 | 1.25                   |        2619094
    mini           default   0    |       1234     567     89    12     345  0  0 | 0.333333333            |         698425
    mini           default   0    |       1234     567     89    12     345  0  0 | 0.1234567890123456789  |         258676
    mini           default   0    |       1234     567     89    12     345  0  0 | 999.999999999999999999 |     2095275000
    mini           default   0    |       1234     567     89    12     345  0  0 | 0                      |              0
    nano           default   0    |          1       0      0     0       0  0  0 | 1                      |             50
    nano           default   0    |          0       1      0     0       0  0  0 | 1                      |              5   5 nano-dollars, the least there is of these
    nano           default   0    |          0       1      0     0       0  0  0 | 0.1                    |              1   0.5: half goes up
    nano           default   0    |          0       1      0     0       0  0  0 | 0.09999999999999999    |              0   just below a half goes down
    nano           default   0    |          0       1      0     0       0  0  0 | 0.3                    |              2   1.5 goes up to 2
    nano           default   0    |          0       1      0     0       0  0  0 | 0.5                    |              3   2.5 goes up to 3, not to the even 2
    nano           default   0    |          7       3      0     0      11  0  0 | 0.007                  |             32
    nano           default   0    | 1000000000       0      0     0       0  0  0 | 1                      |    50000000000
    nano           default   0    |          1       0      0     0       1  0  0 | 0.01                   |              5   50 + 400 = 450, × 0.01 = 4.5
    old            default   4999 |       1000       0      0     0     100  1  1 | 1                      |       27250000   1,250,000 + 1,000,000 + 25,000,000: until its last millisecond
    old            default   5000 |       1000       0      0     0     100  1  1 | 1                      |        5800000   1,000,000 + 800,000 + 4,000,000: from its first
    old            flex      5000 |       1000     500      0     0     100  0  0 | 0.8                    |        1080000
    old            batch     2999 |       1000       0      0     0     100  0  0 | 1                      |        1125000   625,000 + 500,000: the last millisecond of a tier that ends
    old            batch     3000 |       1000       0      0     0     100  0  0 | 1                      |        2250000   and then the default tier, 1,250,000 + 1,000,000
    tiny           default   0    |     499999       0      0     0       0  0  0 | 1                      |              0   0.499999
    tiny           default   0    |     500000       0      0     0       0  0  0 | 1                      |              1   exactly a half: up
    tiny           default   0    |     250000       0      0     0  250000  0  0 | 1                      |              1   rounded once: 0.25 + 0.25 is a half, where each part alone is nothing
    tiny           default   0    |     250000       0      0     0  249999  0  0 | 1                      |              0
    tiny           default   0    |    1500000  400000 600000 100000  400000  0  0 | 1                      |              4   (500,000 × 1 + 400,000 × 1 + 500,000 × 3 + 100,000 × 7 + 400,000 × 1) / 1,000,000 = 3.5
    tiny           default   0    |          0       0      0     0       0  0  1 | 0.5                    |              1
    tiny           default   0    |          0       0      0     0       0  0  1 | 0.49                   |              0
    tiny           default   0    |     500000       0      0     0       0  0  0 | 3                      |              2   the multiplier comes before the rounding: 1.5
    tiny           default   0    |     333333       0      0     0       0  0  0 | 1.5000015              |              0
`

describe('golden price vectors', () => {
  const prices = openPriceBook(lines(book).map(versionOf))

  test.each(lines(vectors))('%s', line => {
    const [served, used, multiplier, cost] = line.split('|').map(part => part.trim().split(/\s+/))
    const [model, tier, atMs] = served!
    const [inputTokens, cachedTokens, cacheWriteTokens, cacheWrite12hTokens, outputTokens, webSearches, fileSearches] = used!.map(Number)
    const found = prices.find({ model: model!, tier: tier!, contextTokens: inputTokens!, atMs: Number(atMs) })!
    const usage = {
      ...{ inputTokens: inputTokens!, cachedTokens: cachedTokens!, cacheWriteTokens: cacheWriteTokens! },
      ...{ cacheWrite12hTokens: cacheWrite12hTokens!, outputTokens: outputTokens!, reasoningTokens: outputTokens! },
      ...{ webSearches: webSearches!, fileSearches: fileSearches! },
    }
    expect(String(costOf(usage, found, parseDecimal(multiplier![0]!)))).toBe(cost![0])
  })

  test('there are enough of them', () => expect(lines(vectors).length).toBeGreaterThanOrEqual(60))
})

function versionOf(line: string): PriceVersion {
  const [place, usd] = line.split('|').map(part => part.trim().split(/\s+/))
  const [model, tier, contextOver, from, to] = place!
  const [input, cached, cacheWrite, cacheWrite12h, output, webSearch, fileSearch] = usd!.map(text => (text === '-' ? null : parseUsd(text)))
  return {
    ...{ id: line, model: model!, tier: tier!, contextOver: Number(contextOver), maxOutput: null, source: null },
    ...{ aliases: model === 'sol' ? ['sol-latest'] : [], effectiveFromMs: Number(from), effectiveToMs: to === '-' ? null : Number(to) },
    ...{ input: input!, cached: cached!, cacheWrite: cacheWrite!, cacheWrite12h: cacheWrite12h!, output: output! },
    ...{ webSearch: webSearch!, fileSearch: fileSearch! },
  }
}

function lines(table: string): string[] {
  return table
    .trim()
    .split('\n')
    .map(line => line.trim())
}
