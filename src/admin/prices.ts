import { createRoute, z } from '@hono/zod-openapi'
import { everything } from '../directory/pages.ts'
import { lineOf, listPrices, makePrice } from '../directory/prices.ts'
import type { PriceVersion } from '../ledger/price.ts'
import { priceOfSetup, setupOfPrice, timeText, timeTextOrNull } from './entities.ts'
import { flag, object } from './fields.ts'
import type { AdminParts } from './ports.ts'
import { aliasProblems, isSamePrice } from './price-lines.ts'
import { invalid } from './refusal.ts'
import { body, ok, pageAsked, pageOf, pageQuery, pageSchema, routes } from './routes.ts'
import { priceSchema, type SetupPrice } from './setup.ts'
import { save } from './writing.ts'

/** The price book: USD per million tokens, by model, tier and context. */
export function priceRoutes(parts: AdminParts) {
  return routes()
    .openapi(list, async context => {
      const { model, all, history, ...query } = context.req.valid('query')
      const filter = { model, all: all || history }
      return context.json(pageOf(await listPrices(parts.database, pageAsked(query), filter), query.limit, priceView), 200)
    })
    .openapi(set, async context => context.json(priceView(await setOne(context.req.valid('json'), parts)), 200))
}

const listPricesQuery = object('a list of prices', {
  ...pageQuery,
  model: z.string().max(200).optional().describe('Of one model only.'),
  all: flag.describe('Versions that have ended, too.'),
  history: flag.describe('The same as all.'),
})

const priceViewSchema = z
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
  responses: ok('Versions by age; the ones that hold now, unless all are asked for.', pageSchema(priceViewSchema)),
})
const set = createRoute({
  method: 'post',
  path: '/prices',
  tags,
  description: 'Sets a price from now on. Calls that began before keep theirs. The same price again changes nothing.',
  request: { body: body(priceSchema) },
  responses: ok('The version that holds now.', priceViewSchema),
})

function priceView(price: PriceVersion): z.input<typeof priceViewSchema> {
  const { id, effectiveFromMs, effectiveToMs } = price
  return { id, ...setupOfPrice(price), effectiveFrom: timeText(effectiveFromMs), effectiveTo: timeTextOrNull(effectiveToMs) }
}

async function setOne(said: SetupPrice, parts: AdminParts): Promise<PriceVersion> {
  const running = await everything(page => listPrices(parts.database, page))
  const draft = priceOfSetup(said)
  const problems = aliasProblems([draft], running, () => [])
  if (problems.length > 0) throw invalid(problems)
  const before = running.find(version => lineOf(version) === lineOf(draft))
  if (before !== undefined && isSamePrice(before, draft)) return before
  const { entity, steps } = makePrice(draft, before, parts.clock.nowMs())
  await save(parts, steps, [{ what: 'set', target: `price ${lineOf(draft)}` }])
  return entity
}
