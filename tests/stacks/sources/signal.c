/* Waits for a byte in a signal's handler, which interrupted a function. */
#include <signal.h>
#include <stdlib.h>
#include <unistd.h>
static int given;
static void handler(int number) {
  char byte;
  (void)number;
  (void)!read(given, &byte, 1);
}
__attribute__((noinline)) void interrupted(void) {
  raise(SIGUSR1);
  __asm__ volatile("" ::: "memory");
}
int main(int count, char **arguments) {
  (void)count;
  given = atoi(arguments[1]);
  signal(SIGUSR1, handler);
  interrupted();
  return 0;
}
