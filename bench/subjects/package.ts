import { execFileSync } from 'node:child_process'
import { copyFileSync, existsSync, mkdirSync, symlinkSync } from 'node:fs'
import { join } from 'node:path'

const root = join(import.meta.dirname, '../..')

/** Headgate as it stands in the source tree. */
export const source = join(root, 'bin/headgate.mjs')

/**
 * Headgate as it is published, plain JavaScript: from the source tree the same program carries a TypeScript stripper, which is 50 MB
 * more. Laid out in the folder, once, with what was built just now; returns the program.
 */
export function publishedIn(folder: string): string {
  const published = join(folder, 'package')
  const program = join(published, 'bin/headgate.mjs')
  if (existsSync(program)) return program
  execFileSync(process.execPath, [join(root, 'bin/build.mjs')], { stdio: ['ignore', 'ignore', 'inherit'] })
  mkdirSync(join(published, 'bin'), { recursive: true })
  for (const file of ['package.json', 'bin/headgate.mjs']) copyFileSync(join(root, file), join(published, file))
  symlinkSync(join(root, 'dist'), join(published, 'dist'))
  return program
}
