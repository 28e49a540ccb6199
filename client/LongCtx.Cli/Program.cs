using System.Runtime.InteropServices;
using LongCtx.Cli;

using var interrupt = new Interrupt();
Console.CancelKeyPress += (_, key) =>
{
    key.Cancel = true; // we end in our own way: partial results are dropped, the terminal is left clean
    interrupt.Raise();
};
using PosixSignalRegistration terminate = PosixSignalRegistration.Create(PosixSignal.SIGTERM, signal =>
{
    signal.Cancel = true;
    interrupt.Stop();
});
return await App.RunAsync(args, Terminal.OfProcess(interrupt));
