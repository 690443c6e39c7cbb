import type { Migration } from '../migrate.ts'
import { books } from './0001-books.ts'
import { refunds } from './0002-refunds.ts'
import { priceBook } from './0003-price-book.ts'
import { callsByKey } from './0004-calls-by-key.ts'
import { codes } from './0005-codes.ts'
import { uncollectedWhy } from './0006-uncollected-why.ts'
import { firstEventLimit } from './0007-first-event-limit.ts'
import { organizations } from './0008-organizations.ts'
import { background } from './0009-background.ts'
import { retention } from './0010-retention.ts'
import { manyNodes } from './0011-many-nodes.ts'
import { keysByUser } from './0012-keys-by-user.ts'
import { accountDays } from './0013-account-days.ts'

/** Every change of the schema, in order. A new one is a file and a line here. */
export const migrations: readonly Migration[] = [
  books,
  refunds,
  priceBook,
  callsByKey,
  codes,
  uncollectedWhy,
  firstEventLimit,
  organizations,
  background,
  retention,
  manyNodes,
  keysByUser,
  accountDays,
]
