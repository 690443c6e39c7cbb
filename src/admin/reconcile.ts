import { createRoute, z } from '@hono/zod-openapi'
import { readCut } from '../ledger/kept.ts'
import { formatUsd, parseUsd } from '../ledger/money.ts'
import { mayHaveCost } from '../upstreams/verdict.ts'
import { type Amounts, type Counted, countByDay, type Pricing, type Unknown } from '../usage/counted.ts'
import { type Comparison, type Figure, reconcile, type Theirs } from '../usage/reconcile.ts'
import { dayText, timeText } from './entities.ts'
import { label, model, object, time, usd } from './fields.ts'
import type { AdminParts } from './ports.ts'
import { invalid } from './refusal.ts'
import { body, ok, routes } from './routes.ts'
import { type Problem, placeOf } from './sentence.ts'

/** Our sums held against an upstream's own figures. */
export function reconcileRoutes(parts: AdminParts) {
  return routes().openapi(route, async context => context.json(await reconciliation(context.req.valid('json'), parts), 200))
}

const count = z.int().min(0)
const dayMs = 86_400_000
/** Reading is paged, but the answer is one: a year and a leap day. */
const daysMax = 366
const figuresMax = 100_000

const figureSchema = object('a figure', {
  day: z.iso.date({ error: 'takes a day of UTC such as 2026-01-31' }),
  account: label.describe('Name or id.'),
  model: model.describe('As the upstream names it; dated names are found by the aliases of the price book.'),
  requests: count.optional(),
  inputTokens: count.describe('Cached ones included.'),
  cachedTokens: count.optional(),
  outputTokens: count,
  cost: usd.optional(),
})

const bodySchema = object('a reconciliation', {
  since: time.describe('The day of UTC in which this lies is the first.'),
  until: time.describe('The day of UTC that ends here, or in which this lies, is the last.'),
  accounts: z
    .array(label)
    .optional()
    .describe('Accounts that the figures cover, beside those that they name: without a figure they say nothing was used.'),
  costDecimals: z.int().min(0).max(9).optional().describe('Decimals to which each cost in the figures is rounded. Default 9: exact.'),
  figures: z.array(figureSchema).max(figuresMax),
})

const amountsSchema = z.object({
  requests: z.number(),
  inputTokens: z.number(),
  cachedTokens: z.number(),
  outputTokens: z.number(),
  cost: z.string().describe('At the price of the upstream: without the multiplier of a group.'),
})
const theirsSchema = z.object({
  requests: z.number().nullable(),
  inputTokens: z.number(),
  cachedTokens: z.number().nullable(),
  outputTokens: z.number(),
  cost: z.string().nullable(),
})
const unknownSchema = z.object({
  count: z.number(),
  atMost: z.string().nullable().describe('What was held for them; null when that is not known.'),
})
const partsSchema = z.object({
  reported: amountsSchema,
  drained: amountsSchema,
  estimated: amountsSchema,
  silent: unknownSchema.describe('Answers that said no usage.'),
  attempts: unknownSchema.describe('Attempts that were sent and not answered: no caller pays for them.'),
  died: unknownSchema.describe('Calls whose gateway died; of these nobody knows the account.'),
  unpriced: z.number().describe('Calls without a price in the book.'),
})
const lineSchema = z.object({
  day: z.string(),
  account: z.string(),
  model: z.string(),
  verdict: z.enum(['agrees', 'explained', 'unexplained']),
  causes: z.array(z.string()),
  ours: amountsSchema,
  theirs: theirsSchema,
  difference: theirsSchema.describe('Theirs less ours.'),
  parts: partsSchema,
})
const answerSchema = z
  .object({
    since: z.string(),
    until: z.string(),
    lines: z.array(lineSchema),
    unexplained: z.number().describe('Lines that nothing explains.'),
    outside: z.number().describe('Figures of days that are not in the period. They were not looked at.'),
    notCovered: z.array(z.string()).describe('Accounts that we used in the period, and of which the figures say nothing.'),
  })
  .openapi('Reconciliation')

const route = createRoute({
  method: 'post',
  path: '/reconcile',
  tags: ['usage'],
  description: 'Holds our sums by account, model and day of UTC against an upstream’s own figures. Changes nothing.',
  request: { body: body(bodySchema) },
  responses: ok('Both sides of each account, model and day, and why they differ.', answerSchema),
})

type Asked = z.output<typeof bodySchema>

async function reconciliation({ since, until, accounts = [], costDecimals = 9, figures }: Asked, parts: AdminParts) {
  const period = { sinceMs: Math.floor(since / dayMs) * dayMs, untilMs: Math.ceil(until / dayMs) * dayMs }
  refusePeriod(period)
  await refuseCut(period, parts)
  const { accountNames, accountIds, pricing } = readDirectory(parts)
  const said = readFigures(figures, accountIds, pricing)
  const covered = new Set([...idsOf(accounts, accountIds), ...said.map(({ accountId }) => accountId)])
  const inside = said.filter(({ dayStartsAtMs }) => period.sinceMs <= dayStartsAtMs && dayStartsAtMs < period.untilMs)
  const counted = await countByDay(parts.database, period, pricing)
  const ofCovered = counted.filter(({ accountId }) => accountId === null || covered.has(accountId))
  const lines = reconcile(ofCovered, inside, { roundedTo: costDecimals === 9 ? 0n : 10n ** BigInt(9 - costDecimals) })
  const left = new Set(counted.map(({ accountId }) => accountId).filter(id => id !== null && !covered.has(id)))
  const nameOf = (id: string) => accountNames.get(id) ?? id
  return {
    since: timeText(period.sinceMs),
    until: timeText(period.untilMs),
    lines: lines.map(line => lineView(line, nameOf)),
    unexplained: lines.filter(({ verdict }) => verdict === 'unexplained').length,
    outside: said.length - inside.length,
    notCovered: [...left].map(id => nameOf(id!)).sort(),
  }
}

function refusePeriod({ sinceMs, untilMs }: { readonly sinceMs: number; readonly untilMs: number }): void {
  if (untilMs <= sinceMs) throw invalid([{ path: ['until'], message: 'until must be after since.' }])
  const days = (untilMs - sinceMs) / dayMs
  if (days > daysMax)
    throw invalid([{ path: ['since'], message: `since is ${days} days before until; at most ${daysMax} are read at once.` }])
}

/** Calls that are not on the books any more would look like requests that we never saw. */
async function refuseCut({ sinceMs }: { readonly sinceMs: number }, { database }: AdminParts): Promise<void> {
  const { beforeMs } = await readCut(database)
  if (sinceMs >= beforeMs) return
  const message = `since is ${dayText(sinceMs)}, but rows of calls before ${dayText(beforeMs)} were cut (usageKeptDays); ask from then on.`
  throw invalid([{ path: ['since'], message }])
}

function readDirectory({ directory }: AdminParts) {
  const { accounts, prices, priceBook, groups } = directory.snapshot()
  const versions = new Map(prices.map(version => [version.id, version]))
  const pricing: Pricing = { versions, book: priceBook, multiplierOf: id => groups.get(id)?.multiplier, mayHaveCost }
  const accountIds = new Map([...accounts.values()].flatMap(({ id, name }) => [[id, id] as const, [name, id] as const]))
  const accountNames = new Map([...accounts.values()].map(({ id, name }) => [id, name]))
  return { accountNames, accountIds, pricing }
}

function readFigures(figures: Asked['figures'], accountIds: ReadonlyMap<string, string>, { book }: Pricing): Figure[] {
  const problems: Problem[] = []
  const read = figures.map(({ day, account, model: name, requests, inputTokens, cachedTokens, outputTokens, cost }, index) => {
    const accountId = accountIds.get(account)
    if (accountId === undefined) problems.push(unknownAccount(account, ['figures', index, 'account'], accountIds))
    const dayStartsAtMs = Date.parse(`${day}T00:00:00Z`)
    return {
      accountId: accountId ?? '',
      // What is resolved is a name of that day; at its end, because a price may have been set within it.
      model: book.resolve(name, dayStartsAtMs + dayMs - 1) ?? name,
      dayStartsAtMs,
      requests: requests === undefined ? null : BigInt(requests),
      inputTokens: BigInt(inputTokens),
      cachedTokens: cachedTokens === undefined ? null : BigInt(cachedTokens),
      outputTokens: BigInt(outputTokens),
      cost: cost === undefined ? null : parseUsd(cost),
    }
  })
  if (problems.length > 0) throw invalid(problems)
  return read
}

function idsOf(accounts: readonly string[], accountIds: ReadonlyMap<string, string>): string[] {
  return accounts.map((account, index) => {
    const id = accountIds.get(account)
    if (id === undefined) throw invalid([unknownAccount(account, ['accounts', index], accountIds)])
    return id
  })
}

function unknownAccount(account: string, path: Problem['path'], accountIds: ReadonlyMap<string, string>): Problem {
  const names = [...accountIds].filter(([name, id]) => name !== id).map(([name]) => name)
  const known =
    names.length === 0 ? 'there is none yet' : `there are ${names.slice(0, 20).join(', ')}${names.length > 20 ? ' and more' : ''}`
  return { path, message: `${placeOf(path)} names the account ${JSON.stringify(account)}, which does not exist; ${known}.` }
}

function lineView({ dayStartsAtMs, accountId, model: name, verdict, causes, ...sides }: Comparison, nameOf: (id: string) => string) {
  const { ours, theirs, difference, parts } = sides
  return {
    day: dayText(dayStartsAtMs),
    account: nameOf(accountId),
    model: name,
    verdict,
    causes: [...causes],
    ours: amountsView(ours),
    theirs: theirsView(theirs),
    difference: theirsView(difference),
    parts: partsView(parts),
  }
}

function partsView({ reported, drained, estimated, silent, attempts, died, unpriced }: Counted) {
  return {
    reported: amountsView(reported),
    drained: amountsView(drained),
    estimated: amountsView(estimated),
    silent: unknownView(silent),
    attempts: unknownView(attempts),
    died: unknownView(died),
    unpriced: Number(unpriced),
  }
}

function amountsView({ requests, inputTokens, cachedTokens, outputTokens, cost }: Amounts) {
  return {
    requests: Number(requests),
    inputTokens: Number(inputTokens),
    cachedTokens: Number(cachedTokens),
    outputTokens: Number(outputTokens),
    cost: formatUsd(cost),
  }
}

function theirsView({ requests, inputTokens, cachedTokens, outputTokens, cost }: Theirs) {
  return {
    requests: requests === null ? null : Number(requests),
    inputTokens: Number(inputTokens),
    cachedTokens: cachedTokens === null ? null : Number(cachedTokens),
    outputTokens: Number(outputTokens),
    cost: cost === null ? null : formatUsd(cost),
  }
}

function unknownView({ count: many, atMost }: Unknown) {
  return { count: Number(many), atMost: atMost === null ? null : formatUsd(atMost) }
}
