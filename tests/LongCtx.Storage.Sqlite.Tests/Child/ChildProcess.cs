using System.Diagnostics;

namespace LongCtx.Storage.Sqlite.Tests.Child;

/// <summary>This program, started again.</summary>
static class ChildProcess
{
    static string Executable { get; } = Path.Combine(AppContext.BaseDirectory, "LongCtx.Storage.Sqlite.Tests" + (OperatingSystem.IsWindows() ? ".exe" : ""));

    public static Process Start(params string[] arguments) => StartProcess(Executable, ["child", .. arguments]);

    public static async Task<(int Exit, string Output, string Error)> RunAsync(params string[] arguments) => await EndAsync(Start(arguments));

    /// <summary>
    /// Runs it where <paramref name="directory"/> is an empty file system of its own, which ends with it. Skips the test where the system does not allow that.
    /// </summary>
    /// <param name="directory">Exists.</param>
    /// <param name="options">Of mount(8).</param>
    /// <param name="arguments">Of the child.</param>
    public static async Task<(int Exit, string Output, string Error)> RunOnOwnDiskAsync(string directory, string options, params string[] arguments)
    {
        if (!OperatingSystem.IsLinux()) Assert.Skip("A file system for one test is made with unshare(1) and mount(8) of Linux.");
        var probe = await MountAsync(directory, options, "true");
        if (probe.Exit != 0) Assert.Skip($"This system does not let a test mount a file system of its own: {probe.Error}");
        return await MountAsync(directory, options, [Executable, "child", .. arguments]);
    }

    static Task<(int Exit, string Output, string Error)> MountAsync(string directory, string options, params string[] command) =>
        EndAsync(StartProcess("unshare", ["--map-root-user", "--mount", "sh", "-c", """mount -t tmpfs -o "$1" tmpfs "$2" && shift 2 && exec "$@" """, "sh", options, directory, .. command]));

    static Process StartProcess(string program, string[] arguments) =>
        Process.Start(new ProcessStartInfo(program, arguments) { UseShellExecute = false, RedirectStandardInput = true, RedirectStandardOutput = true, RedirectStandardError = true })!;

    static async Task<(int Exit, string Output, string Error)> EndAsync(Process process)
    {
        using (process)
        {
            process.StandardInput.Close();
            var error = process.StandardError.ReadToEndAsync(TestContext.Current.CancellationToken);
            string output = await process.StandardOutput.ReadToEndAsync(TestContext.Current.CancellationToken);
            await process.WaitForExitAsync(TestContext.Current.CancellationToken);
            return (process.ExitCode, output, await error);
        }
    }
}
