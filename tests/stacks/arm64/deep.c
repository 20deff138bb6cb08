/* aarch64, freestanding: ends by a breakpoint below frames of every kind.
 * aarch64-linux-gnu-gcc -O2 -nostdlib -static -fasynchronous-unwind-tables -fno-stack-protector deep.c -o deep */
typedef unsigned long word;
typedef word (*function)(word);
extern word nowhere;
word nowhere;
__attribute__((noinline, noclone)) word leaf(word n) {
  __asm__ volatile("brk #0" ::: "memory");
  return n + nowhere;
}
__attribute__((noinline, noclone)) word room(word n) {
  char *space = __builtin_alloca(16 * (n + 1));
  space[0] = (char)n;
  word got = leaf(n) + 1;
  __asm__ volatile("" ::"r"(space) : "memory");
  return got;
}
__attribute__((noinline, noclone, optimize("omit-frame-pointer"))) word plain(word n) { return room(n + nowhere) + 2; }
__attribute__((noinline, noclone, target("branch-protection=pac-ret+leaf"))) word signedreturn(word n) { return plain(n) + 3; }
__attribute__((noinline, noclone)) word big(word n) {
  volatile word table[600];
  table[n] = n;
  return signedreturn(table[n]) + table[n + 1];
}
__attribute__((noinline, noclone)) word recurse(word n) { return n ? recurse(n - 1) + 1 : big(n) + 1; }
static function volatile table[] = {recurse};
__attribute__((noinline, noclone)) word through(word n) { return table[0](n) + 4; }
__attribute__((noreturn)) void start(void) {
  through(3);
  __builtin_unreachable();
}
__asm__(
    ".global _start\n.type _start,%function\n_start:\n.cfi_startproc\n.cfi_undefined x30\nmov x29,#0\nmov x30,#0\n"
    "bl start\nbrk #1\n.cfi_endproc\n.size _start,.-_start\n");
