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
    public static Task<(int Exit, string Output, string Error)> RunOnOwnDiskAsync(string directory, string options, params string[] arguments) =>
        MountAsync("""mount -t tmpfs -o "$2" tmpfs "$1" """, directory, options, arguments);

    /// <summary>Runs it where <paramref name="file"/> cannot be written to, not even by root.</summary>
    public static Task<(int Exit, string Output, string Error)> RunWithReadOnlyAsync(string file, params string[] arguments) =>
        MountAsync("""mount --bind "$1" "$1" && mount -o "$2" "$1" """, file, "remount,bind,ro", arguments);

    static async Task<(int Exit, string Output, string Error)> MountAsync(string mount, string place, string options, string[] arguments)
    {
        if (!OperatingSystem.IsLinux()) Assert.Skip("A file system for one test is made with unshare(1) and mount(8) of Linux.");
        Process Mounted(params string[] command) =>
            StartProcess("unshare", ["--map-root-user", "--mount", "sh", "-c", mount + """ && shift 2 && exec "$@" """, "sh", place, options, .. command]);

        var probe = await EndAsync(Mounted("true"));
        if (probe.Exit != 0) Assert.Skip($"This system does not let a test mount a file system of its own: {probe.Error}");
        return await EndAsync(Mounted([Executable, "child", .. arguments]));
    }

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
