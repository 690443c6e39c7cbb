import { createRoute, z } from '@hono/zod-openapi'
import { endLine, lineOf, placePrice } from '../directory/price-line.ts'
import { changeBook, listPrices, readBook, sameLine } from '../directory/prices.ts'
import type { PriceVersion } from '../ledger/price.ts'
import { priceOfSetup, setupOfPrice, timeText, timeTextOrNull } from './entities.ts'
import { flag, label, model, object, time } from './fields.ts'
import type { AdminParts } from './ports.ts'
import { nameProblems } from './price-lines.ts'
import { invalid, Refusal } from './refusal.ts'
import { body, ok, pageAsked, pageOf, pageQuery, pageSchema, routes } from './routes.ts'
import type { Problem } from './sentence.ts'
import { priceSchema } from './setup.ts'
import { save } from './writing.ts'

/** The price book: USD per million tokens, by model, tier and context. */
export function priceRoutes(parts: AdminParts) {
  return routes()
    .openapi(list, async context => {
      const { model, all, history, ...query } = context.req.valid('query')
      const filter = { model, nowMs: all || history ? undefined : parts.clock.nowMs() }
      return context.json(pageOf(await listPrices(parts.database, pageAsked(query), filter), query.limit, priceView), 200)
    })
    .openapi(set, async context => context.json(priceView(await setOne(context.req.valid('json'), parts)), 200))
    .openapi(end, async context => context.json({ ended: (await endOne(context.req.valid('json'), parts)).map(priceView) }, 200))
}

const listPricesQuery = object('a list of prices', {
  ...pageQuery,
  model: z.string().max(200).optional().describe('Of one model only.'),
  all: flag.describe('Versions that have ended, too.'),
  history: flag.describe('The same as all.'),
})

/** What is left out of `until` is told by what is planned already; null is for ever. */
const setPriceSchema = object('a price', {
  ...priceSchema.shape,
  from: time.optional().describe('Its first moment, now when left out. The one that holds then ends in that moment.'),
  until: time
    .nullable()
    .optional()
    .describe(
      'The first moment after it: then what would have held without it holds again. Left out: until the next planned price, if there is one. Null: for ever.',
    ),
})

const endPriceSchema = object('an end of a price', {
  model,
  tier: label.default('default'),
  contextOver: z.int().min(0).default(0),
  at: time.optional().describe('The first moment without a price; now when left out.'),
})

export const priceViewSchema = z
  .object({
    id: z.string(),
    model: z.string(),
    tier: z.string(),
    contextOver: z.number(),
    input: z.string(),
    cached: z.string(),
    cacheWrite: z.string(),
    cacheWrite12h: z.string(),
    output: z.string(),
    webSearch: z.string().nullable(),
    fileSearch: z.string().nullable(),
    maxOutput: z.number().nullable(),
    aliases: z.array(z.string()),
    source: z.string().nullable(),
    effectiveFrom: z.string(),
    effectiveTo: z.string().nullable(),
  })
  .openapi('Price')

const tags = ['prices']
const list = createRoute({
  method: 'get',
  path: '/prices',
  tags,
  request: { query: listPricesQuery },
  responses: ok('Versions by age; the ones that hold now or are planned, unless all are asked for.', pageSchema(priceViewSchema)),
})
const set = createRoute({
  method: 'post',
  path: '/prices',
  tags,
  description: 'Sets a price from now or from a moment to come. Calls that began before keep theirs. The same price again changes nothing.',
  request: { body: body(setPriceSchema) },
  responses: ok('The version that holds from then on.', priceViewSchema),
})
const end = createRoute({
  method: 'post',
  path: '/prices/end',
  tags,
  description: 'Ends the price of a line, and withdraws what was planned for it. Calls that began before keep theirs.',
  request: { body: body(endPriceSchema) },
  responses: ok('The versions that ended.', z.object({ ended: z.array(priceViewSchema) })),
})

export function priceView(price: PriceVersion): z.input<typeof priceViewSchema> {
  const { id, effectiveFromMs, effectiveToMs } = price
  return { id, ...setupOfPrice(price), effectiveFrom: timeText(effectiveFromMs), effectiveTo: timeTextOrNull(effectiveToMs) }
}

async function setOne({ from, until, ...said }: z.output<typeof setPriceSchema>, parts: AdminParts): Promise<PriceVersion> {
  const nowMs = parts.clock.nowMs()
  const book = await readBook(parts.database, nowMs)
  const draft = priceOfSetup(said)
  const problems = [...timeProblems({ from, until }, nowMs), ...nameProblems([draft], book.standing, () => [])]
  if (problems.length > 0) throw invalid(problems)
  const line = sameLine(book.standing, draft)
  const fromMs = from ?? nowMs
  const when = until === undefined ? { fromMs } : { fromMs, untilMs: until }
  const { made, steps } = changeBook(book, [placePrice(draft, when, line)], nowMs)
  if (steps.length > 0) await save(parts, steps, [{ what: 'set', target: `price ${lineOf(draft)}` }])
  return made[0] ?? line.find(version => version.effectiveFromMs <= fromMs && (version.effectiveToMs ?? Infinity) > fromMs)!
}

async function endOne({ at, ...said }: z.output<typeof endPriceSchema>, parts: AdminParts): Promise<PriceVersion[]> {
  const nowMs = parts.clock.nowMs()
  const problems = timeProblems({ at }, nowMs)
  if (problems.length > 0) throw invalid(problems)
  const book = await readBook(parts.database, nowMs)
  const change = endLine(sameLine(book.standing, said), at ?? nowMs)
  if (change.ends.length === 0)
    throw new Refusal(404, 'not_found', `The price ${lineOf(said)} does not hold then; there is nothing to end.`)
  await save(parts, changeBook(book, [change], nowMs).steps, [{ what: 'end', target: `price ${lineOf(said)}` }])
  return change.ends.map(({ version, atMs }) => ({ ...version, effectiveToMs: atMs }))
}

/** Calls that began have their price: what is over stays as it was. */
function timeProblems(
  times: { from?: number | undefined; at?: number | undefined; until?: number | null | undefined },
  nowMs: number,
): Problem[] {
  const problems: Problem[] = []
  for (const name of ['from', 'at'] as const) {
    const ms = times[name]
    if (ms !== undefined && ms < nowMs)
      problems.push({
        path: [name],
        message: `${name} is ${timeText(ms)}, which is over; a price can change from now (${timeText(nowMs)}) on.`,
      })
  }
  const { from = nowMs, until } = times
  if (typeof until === 'number' && until <= from)
    problems.push({
      path: ['until'],
      message: `until is ${timeText(until)}; it takes a moment after ${timeText(from)}, from which the price holds.`,
    })
  return problems
}
