import type { Clock } from '../lib/clock.ts'
import type { Log } from '../lib/log.ts'
import { type Database, statement } from '../storage/database.ts'
import { placePrice } from './price-line.ts'
import { changeBook, readBook } from './prices.ts'
import { publicPrices } from './public-prices.ts'
import { changeDirectory } from './revision.ts'

/**
 * Gives the public prices to books that never had a price, so that a first call needs none; as ordinary versions, each with its
 * source. Books that have or had one are left alone: what their operator says holds, and what they ended stays ended.
 */
export async function giveFirstPrices(database: Database, clock: Clock, log: Log): Promise<void> {
  const nowMs = clock.nowMs()
  const book = await readBook(database, nowMs)
  if ((await database.report(anyPrice)).length > 0) return
  const changes = publicPrices(nowMs).map(({ draft, span }) => placePrice(draft, span, []))
  const { made, steps } = changeBook(book, changes, nowMs)
  // Refused when another gateway gives them, or an operator sets one, in the same moment: then they are there.
  if (!(await changeDirectory(database, steps)).done) return
  const models = new Set(made.map(({ model }) => model)).size
  log.info({ models, lines: made.length }, 'the price book was empty and now has the public prices; see `headgate price list`')
}

const anyPrice = statement('select id from prices limit 1')
