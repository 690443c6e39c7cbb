import { readFileSync } from 'node:fs'

/** As package.json says it: beside `src` in the source tree, two folders up in the published package. */
export const version = versionOf(['../package.json', '../../package.json'])

function versionOf(paths: readonly string[]): string {
  for (const path of paths) {
    try {
      const description: { version?: string } = JSON.parse(readFileSync(new URL(path, import.meta.url), 'utf8'))
      if (description.version !== undefined) return description.version
    } catch {
      // Not there: the other place, then.
    }
  }
  return 'unknown'
}
