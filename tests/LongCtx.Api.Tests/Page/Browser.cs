using Microsoft.Playwright;

namespace LongCtx.Api.Tests;

/// <summary>One headless Chromium for all page tests; none where it is not installed.</summary>
public sealed class Browser : IAsyncLifetime
{
    static readonly string[] Places =
        ["/usr/bin/chromium", "/usr/bin/chromium-browser", "/usr/bin/google-chrome", "/Applications/Google Chrome.app/Contents/MacOS/Google Chrome"];

    // The last three keep Chromium from calling home, which a closed network refuses many times over.
    static readonly string[] Flags =
        ["--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking", "--disable-component-update", "--disable-sync"];

    IPlaywright? playwright;
    IBrowser? browser;

    public async ValueTask InitializeAsync()
    {
        if (Environment.GetEnvironmentVariable("CHROMIUM") is not { Length: > 0 } path) path = Places.FirstOrDefault(File.Exists) ?? "";
        if (path.Length == 0) return;
        playwright = await Playwright.CreateAsync();
        browser = await playwright.Chromium.LaunchAsync(new() { ExecutablePath = path, Headless = true, Args = Flags });
    }

    /// <summary>An empty page at an address; skips the test where there is no browser.</summary>
    public async Task<IPage> OpenAsync(Uri address, int width = 1280, int height = 800, bool dark = false)
    {
        Assert.SkipWhen(browser is null, "No Chromium found: install it (apt-get install chromium) or name it in CHROMIUM.");
        IBrowserContext context = await browser!.NewContextAsync(new()
        {
            ViewportSize = new() { Width = width, Height = height },
            ColorScheme = dark ? ColorScheme.Dark : ColorScheme.Light,
        });
        context.SetDefaultTimeout(15_000);
        IPage page = await context.NewPageAsync();
        await page.GotoAsync(address.ToString());
        return page;
    }

    /// <summary>Keeps a picture under artifacts/page for people to look at.</summary>
    public static async Task KeepAsync(IPage page, string name)
    {
        DirectoryInfo? root = new(AppContext.BaseDirectory);
        while (root is not null && !File.Exists(Path.Combine(root.FullName, "global.json"))) root = root.Parent;
        if (root is not null) await page.ScreenshotAsync(new() { Path = Path.Combine(root.FullName, "artifacts", "page", name + ".png") });
    }

    public async ValueTask DisposeAsync()
    {
        if (browser is not null) await browser.DisposeAsync();
        playwright?.Dispose();
    }
}
